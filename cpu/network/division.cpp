#include "cpu/network/division.h"

#include <algorithm>

namespace branchsae::cpu {
namespace {

/// GoogLeNet-sized images that are computed together.
constexpr int64_t kSharedImages = 8;
constexpr int64_t kLaneImages = 4;
constexpr int64_t kImagePixels = 224 * 224;

/// The largest number up to `most` of images together, all such groups of about one size.
int64_t even_share(int64_t images, int64_t most) {
  const int64_t groups = (images + most - 1) / most;
  return (images + groups - 1) / groups;
}

}  // namespace

Division divide(int64_t max_batch, int64_t height, int64_t width, int threads) {
  max_batch = std::clamp<int64_t>(max_batch, 1, int64_t{1} << 40);  // compile() refuses absurd ones
  const int64_t pixels = std::max<int64_t>(1, height) * std::max<int64_t>(1, width);
  const auto fitting = [&](int64_t images) {
    return std::clamp<int64_t>(images * kImagePixels / pixels, 1, images);
  };
  // Lanes with nothing to do cost more than threads that wait for each other.
  const int64_t share = (max_batch + threads - 1) / threads;
  const bool lanes = threads > 1 && 4 * max_batch >= 3 * share * threads;
  if (lanes) return {threads, 1, even_share(share, fitting(kLaneImages))};
  return {1, threads, even_share(max_batch, fitting(kSharedImages))};
}

}  // namespace branchsae::cpu
