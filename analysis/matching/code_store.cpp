#include "analysis/matching/code_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/error.h"
#include "engine/random.h"

namespace branchsae {
namespace {

constexpr uint64_t kShuffleStream = 0x73687566;  // apart from other uses of a seed

/// Images of one class, by falling in the order of the classes' numbers.
std::vector<std::vector<int32_t>> images_by_class(std::span<const int32_t> images,
                                                  std::span<const int32_t> class_of) {
  std::vector<int32_t> order(images.begin(), images.end());
  const auto label = [&](int32_t image) { return class_of[static_cast<size_t>(image)]; };
  std::ranges::stable_sort(order, {}, label);
  std::vector<std::vector<int32_t>> classes;
  int32_t last = -1;
  for (int32_t image : order) {
    if (label(image) < 0) continue;
    if (label(image) != last) classes.emplace_back();
    last = label(image);
    classes.back().push_back(image);
  }
  return classes;
}

/// Sums over images of each latent's largest value.
class ScoreSums {
 public:
  explicit ScoreSums(int64_t latents)
      : sums_(static_cast<size_t>(latents)), largest_(static_cast<size_t>(latents)) {}

  void add(std::span<const CodeEntry> image) {
    for (const CodeEntry& entry : image) {
      float& largest = largest_[static_cast<size_t>(entry.latent)];
      if (largest == 0) fired_.push_back(entry.latent);
      largest = std::max(largest, entry.value);
    }
    for (int32_t latent : fired_) {
      double& sum = sums_[static_cast<size_t>(latent)];
      if (sum == 0) touched_.push_back(latent);
      sum += static_cast<double>(largest_[static_cast<size_t>(latent)]);
      largest_[static_cast<size_t>(latent)] = 0;
    }
    fired_.clear();
  }

  /// Means over `images` images by ascending latent, and starts afresh.
  void take(int64_t images, std::vector<float>& values, std::vector<int32_t>& latents) {
    std::ranges::sort(touched_);
    latents = touched_;
    values.clear();
    for (int32_t latent : touched_) {
      values.push_back(static_cast<float>(sums_[static_cast<size_t>(latent)] / static_cast<double>(images)));
      sums_[static_cast<size_t>(latent)] = 0;
    }
    touched_.clear();
  }

 private:
  std::vector<double> sums_;
  std::vector<float> largest_;            ///< on the present image
  std::vector<int32_t> fired_, touched_;  ///< on the present image; on any
};

}  // namespace

CodeStore::CodeStore(int64_t latents, int64_t positions) : positions_(positions) {
  if (latents < 1 || positions < 1)
    throw InputError(
        fmt::format("codes of {} latents at {} positions: both must be at least 1", latents, positions));
  fired_.resize(static_cast<size_t>(latents));
}

void CodeStore::reserve(int64_t tokens, int64_t k) {
  entries_.reserve(static_cast<size_t>(tokens * k));
  ends_.reserve(static_cast<size_t>(tokens) + 1);
}

void CodeStore::add_image(View<const float, 2> values, View<const int32_t, 2> indices) {
  if (values.shape != indices.shape || values.shape[0] != positions_) {
    throw ShapeError(fmt::format("codes of one image: values {} x {}, indices {} x {}, {} positions wanted",
                                 values.shape[0], values.shape[1], indices.shape[0], indices.shape[1],
                                 positions_));
  }
  for (int64_t p = 0; p < positions_; ++p) {
    for (int64_t i = 0; i < values.shape[1]; ++i) {
      const int32_t latent = indices(p, i);
      if (latent >= latents())
        throw InputError(fmt::format("code of latent {}: there are {} only", latent, latents()));
      if (latent < 0 || !(values(p, i) > 0)) continue;
      entries_.push_back({latent, values(p, i)});
      ++fired_[static_cast<size_t>(latent)];
    }
    ends_.push_back(std::ssize(entries_));
  }
}

std::vector<double> CodeStore::densities() const {
  std::vector<double> densities;
  for (int64_t count : fired_)
    densities.push_back(static_cast<double>(count) / static_cast<double>(std::max<int64_t>(tokens(), 1)));
  return densities;
}

ImagePairing same_images(int64_t images) {
  std::vector<int32_t> all(static_cast<size_t>(images));
  std::iota(all.begin(), all.end(), 0);
  return {all, all};
}

ImagePairing half_of_images(int64_t images, bool odd) {
  std::vector<int32_t> half;
  for (int64_t image = odd ? 1 : 0; image < images; image += 2) half.push_back(static_cast<int32_t>(image));
  return {half, half};
}

ImagePairing shuffled_images(const ImagePairing& pairing, uint64_t seed) {
  const auto order = random_permutation(pairing.size(), seed, kShuffleStream);
  ImagePairing shuffled{pairing.a, pairing.a};
  for (size_t t = 0; t < order.size(); ++t) {
    const auto next = static_cast<size_t>(order[(t + 1) % order.size()]);
    shuffled.b[static_cast<size_t>(order[t])] = pairing.b[next];
  }
  return shuffled;
}

CodeStore class_profiles(const CodeStore& codes, std::span<const int32_t> images,
                         std::span<const int32_t> class_of) {
  if (std::ssize(class_of) != codes.images())
    throw ShapeError(fmt::format("{} classes for {} images", class_of.size(), codes.images()));
  const auto classes = images_by_class(images, class_of);
  if (classes.size() < 2)
    throw InputError(fmt::format("profiles over {} classes: at least 2 are needed", classes.size()));
  CodeStore profiles(codes.latents(), 1);
  ScoreSums sums(codes.latents());
  std::vector<float> values;
  std::vector<int32_t> latents;
  for (const std::vector<int32_t>& members : classes) {
    for (int32_t image : members) sums.add(codes.image(image));
    sums.take(std::ssize(members), values, latents);
    profiles.add_image({values.data(), {1, std::ssize(values)}}, {latents.data(), {1, std::ssize(latents)}});
  }
  return profiles;
}

}  // namespace branchsae
