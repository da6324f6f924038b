#pragma once
/// Codes of one autoencoder over a set of images, in memory: what every comparison of two autoencoders reads.
#include <cstdint>
#include <span>
#include <vector>

#include "engine/view.h"

namespace branchsae {

/// One latent that fired.
struct CodeEntry {
  int32_t latent = 0;
  float value = 0;
};

/// Images in the order they were added, each with the same number of positions. Memory: at most bytes(), less
/// where fewer than k latents fire.
class CodeStore {
 public:
  /// Throws InputError when there is nothing to hold.
  CodeStore(int64_t latents, int64_t positions);

  /// Room for so many tokens of up to k latents: no copying as it grows. Memory is taken as it is filled.
  void reserve(int64_t tokens, int64_t k);
  /// The next image's codes as SaeExecutor::encode gives them: values and indices [positions, k], index -1
  /// where a slot is unused. Throws ShapeError, InputError for an index beyond the latents.
  void add_image(View<const float, 2> values, View<const int32_t, 2> indices);

  int64_t latents() const { return static_cast<int64_t>(fired_.size()); }
  int64_t positions() const { return positions_; }
  int64_t images() const { return (std::ssize(ends_) - 1) / positions_; }
  int64_t tokens() const { return std::ssize(ends_) - 1; }
  std::span<const CodeEntry> token(int64_t image, int64_t position) const {
    const auto t = static_cast<size_t>(image * positions_ + position);
    return {entries_.data() + ends_[t], static_cast<size_t>(ends_[t + 1] - ends_[t])};
  }
  /// All entries of an image, position after position.
  std::span<const CodeEntry> image(int64_t image) const {
    const auto t = static_cast<size_t>(image * positions_);
    const int64_t end = ends_[t + static_cast<size_t>(positions_)];
    return {entries_.data() + ends_[t], static_cast<size_t>(end - ends_[t])};
  }
  /// Tokens on which each latent fired.
  const std::vector<int64_t>& fired() const { return fired_; }
  /// Share of tokens on which each latent fires.
  std::vector<double> densities() const;

  static int64_t bytes(int64_t tokens, int64_t k) {
    return tokens * (k * static_cast<int64_t>(sizeof(CodeEntry)) + static_cast<int64_t>(sizeof(int64_t)));
  }

 private:
  int64_t positions_;
  std::vector<CodeEntry> entries_;
  std::vector<int64_t> ends_{0};  ///< [tokens + 1] a token's entries begin at its own, end at the next
  std::vector<int64_t> fired_;    ///< [latents]
};

/// Which images' codes are set side by side: image a[t] of one autoencoder, b[t] of the other.
struct ImagePairing {
  std::vector<int32_t> a, b;
  int64_t size() const { return std::ssize(a); }
};

/// Every image with itself.
ImagePairing same_images(int64_t images);
/// Images of even number, or of odd number, with themselves.
ImagePairing half_of_images(int64_t images, bool odd);
/// The same images of `a`, each with another one of them: for nulls. One seeded cycle through all of them, so
/// that none keeps its own; a single image does.
ImagePairing shuffled_images(const ImagePairing& pairing, uint64_t seed);

/// Each latent's mean score per class, as codes of one token a class: the score of an image is the largest
/// value at its positions, 0 where the latent did not fire. class_of [images] of the store, -1 for images
/// that are left out; only `images` are read, and a class with none of them has no token. Throws InputError
/// when fewer than two classes are left.
CodeStore class_profiles(const CodeStore& codes, std::span<const int32_t> images,
                         std::span<const int32_t> class_of);

}  // namespace branchsae
