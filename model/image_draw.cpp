#include "model/image_draw.h"

#include "engine/error.h"
#include "engine/random.h"
#include "model/image_sequence.h"

namespace branchsae {

Augment parse_augment(std::string_view text) {
  Augment augment;
  if (text == "none") return augment;
  for (std::string_view rest = text;;) {
    const size_t comma = rest.find(',');
    const std::string_view word = rest.substr(0, comma);
    if (word != "flip" && word != "crop") {
      throw InputError("'" + std::string(text) + "' is no augmentation; give none, flip, crop or flip,crop");
    }
    (word == "flip" ? augment.flip : augment.crop) = true;
    if (comma == std::string_view::npos) return augment;
    rest.remove_prefix(comma + 1);
  }
}

std::string to_string(const Augment& augment) {
  if (!augment.any()) return "none";
  if (!augment.crop) return "flip";
  return augment.flip ? "flip,crop" : "crop";
}

namespace model {

CropDraw draw_crop(const Augment& augment, uint64_t seed, int64_t epoch, int64_t image) {
  // 24 bits of epoch beside 32 of image: a repeat after 16 million epochs does no harm.
  Random random(seed, random_stream(RandomUse::kAugment,
                                    static_cast<uint64_t>(epoch) << 32 | static_cast<uint64_t>(image)));
  // All three are drawn whatever is used: the flips of a run do not depend on whether it crops.
  const double x = random.uniform(), y = random.uniform();
  const bool flip = random.below(2) == 1;
  CropDraw draw;
  if (augment.crop) draw = {.x = x, .y = y};
  draw.flip = augment.flip && flip;
  return draw;
}

}  // namespace model
}  // namespace branchsae
