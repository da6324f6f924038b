#pragma once
/// Keeps images' tokens in host memory, so that later epochs need no forward pass.
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/view.h"

namespace branchsae::model {

struct TapExtent {
  int64_t positions = 0;  ///< tokens per image
  int64_t width = 0;      ///< d
};

class ActivationCache {
 public:
  ActivationCache(std::vector<TapExtent> taps, int64_t budget_bytes);
  bool contains(int64_t image) const { return images_.contains(image); }
  /// False when the budget is spent.
  bool has_room() const { return used_bytes_ + image_bytes() <= budget_bytes_; }
  /// Room for an image's tokens of all taps, undefined at first; the image counts as kept from now on.
  void add(int64_t image);
  /// [positions, d], host. The image must be kept.
  View<float, 2> tokens(int64_t image, size_t tap) const;
  int64_t image_bytes() const { return image_floats_ * static_cast<int64_t>(sizeof(float)); }
  int64_t budget_bytes() const { return budget_bytes_; }

 private:
  std::vector<TapExtent> taps_;
  std::vector<int64_t> offsets_;  ///< of each tap, in floats
  int64_t image_floats_ = 0;
  int64_t budget_bytes_;
  int64_t used_bytes_ = 0;
  std::unordered_map<int64_t, std::unique_ptr<float[]>> images_;
};

}  // namespace branchsae::model
