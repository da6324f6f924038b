#pragma once
/// What each latent did on each image: everything that `features` says of a latent comes from here. Tokens
/// are seen once and not kept; what is kept grows with images x latents that fired on them.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/view.h"

namespace branchsae {

/// One latent on one image where it fired at least once.
struct ImageScore {
  int32_t image = 0;
  float max = 0;         ///< max over positions of z: the image's score S_i(x)
  float mean = 0;        ///< mean over all positions, zeros included
  int32_t position = 0;  ///< of the maximum, row-major in the grid; the first of equals
};

/// Values z > 0 counted in half octaves: bin b holds 2^((b + kFirstExponent2) / 2) and up to the next bin.
struct ValueHistogram {
  static constexpr int kBins = 64, kFirstExponent2 = -40;  ///< from 2^-20 to 2^12; the ends take the rest
  std::array<int64_t, kBins> counts{};
  static int bin(float value);
  static double lower_edge(int bin);
};

struct LatentActivity {
  int64_t tokens_fired = 0;
  double sum = 0;  ///< of z over all tokens
  ValueHistogram histogram;
  std::vector<ImageScore> images;  ///< ascending in image

  /// The latent's images by falling score, ties by ascending image, at most `count`.
  std::vector<ImageScore> top(size_t count) const;
};

class ImageScores {
 public:
  /// Throws InputError when there is nothing to count.
  ImageScores(int64_t latents, int64_t positions);
  /// Lists images only where `listed` has them, [latents], each ascending; sums and histograms are of all.
  ImageScores(int64_t positions, std::vector<std::vector<int32_t>> listed);

  /// One image's codes as SaeExecutor::encode gives them: values and indices [positions, k], index -1 where a
  /// slot is unused. Images are numbered as the caller likes, each once, ascending. Throws ShapeError and
  /// InputError (an index beyond the latents).
  void add(int32_t image, View<const float, 2> values, View<const int32_t, 2> indices);
  /// Several images one after another, [images * positions, k]. Threads share the latents: same bytes for any
  /// number of them.
  void add(std::span<const int64_t> images, View<const float, 2> values, View<const int32_t, 2> indices,
           int threads);

  int64_t latents() const { return static_cast<int64_t>(activity_.size()); }
  int64_t images() const { return images_; }
  int64_t positions() const { return positions_; }
  int64_t tokens() const { return images_ * positions_; }
  const LatentActivity& activity(int64_t latent) const { return activity_[static_cast<size_t>(latent)]; }
  int64_t memory_bytes() const;

 private:
  struct Running {
    float max = 0;
    double sum = 0;
    int32_t position = 0;
  };
  /// Latents [begin, end).
  struct Range {
    int64_t begin = 0, end = 0;
  };
  void check(std::span<const int64_t> images, View<const float, 2> values, View<const int32_t, 2> indices);
  /// What one image's codes say of some latents. touched: memory, empty.
  void add_image(int64_t image, View<const float, 2> values, View<const int32_t, 2> indices, Range range,
                 std::vector<int32_t>& touched);
  void add_value(int32_t latent, int32_t position, float value, std::vector<int32_t>& touched);
  bool is_listed(int32_t latent, int32_t image) const;

  int64_t positions_, images_ = 0;
  int64_t last_image_ = -1;
  std::vector<std::vector<int32_t>> listed_;  ///< empty: every image is
  std::vector<LatentActivity> activity_;
  std::vector<Running> running_;  ///< of the present image, [latents]
};

}  // namespace branchsae
