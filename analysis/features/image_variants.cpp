#include "analysis/features/image_variants.h"

#include "engine/error.h"

namespace branchsae {

VariantImages::VariantImages(const ImageSource& source, ImageVariant variant)
    : source_(source), variant_(variant) {
  if (variant == ImageVariant::kGrey && source.format() != PixelFormat::kU8Rgb)
    throw InputError("images that are preprocessed already cannot be made grey; give photos");
}

std::string VariantImages::read(int64_t index, void* dst, const CropDraw& draw) const {
  CropDraw changed = draw;
  if (variant_ == ImageVariant::kMirrored) changed.flip = !draw.flip;
  std::string reason = source_.read(index, dst, changed);
  if (variant_ != ImageVariant::kGrey || !reason.empty()) return reason;
  auto* pixel = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < height() * width(); ++i, pixel += 3) {
    const int luma = (299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2] + 500) / 1000;
    pixel[0] = pixel[1] = pixel[2] = static_cast<uint8_t>(luma);
  }
  return reason;
}

}  // namespace branchsae
