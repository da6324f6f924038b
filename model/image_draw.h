#pragma once
/// Augmentation: how training images are cut and turned, anew in each epoch.
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/images.h"

namespace branchsae {

struct Augment {
  bool flip = false;  ///< mirrored left to right, for half of the draws
  bool crop = false;  ///< a window of the resized photo, all places equally likely, instead of its centre
  bool any() const { return flip || crop; }
  bool operator==(const Augment&) const = default;
};

/// "none", "flip", "crop" or "flip,crop", in any order. Throws InputError for other words.
Augment parse_augment(std::string_view text);
std::string to_string(const Augment& augment);

namespace model {

/// Depends on nothing else, so it is the same for any number of decode threads and whenever a run goes on.
CropDraw draw_crop(const Augment& augment, uint64_t seed, int64_t epoch, int64_t image);

}  // namespace model
}  // namespace branchsae
