#pragma once
/// Images changed on their way to the network: what a feature loses without colour, or in the mirror.
#include "engine/images.h"

namespace branchsae {

enum class ImageVariant { kOriginal, kGrey, kMirrored };

/// Delivers every image of `source` changed. Grey is the luma of ITU-R BT.601 (0.299 R + 0.587 G + 0.114 B)
/// in all three channels. `source` outlives it.
class VariantImages final : public ImageSource {
 public:
  /// Throws InputError when grey is asked of images that are not 8-bit RGB.
  VariantImages(const ImageSource& source, ImageVariant variant);
  int64_t size() const override { return source_.size(); }
  const ImageInfo& info(int64_t index) const override { return source_.info(index); }
  PixelFormat format() const override { return source_.format(); }
  int64_t height() const override { return source_.height(); }
  int64_t width() const override { return source_.width(); }
  int64_t channels() const override { return source_.channels(); }
  std::string fingerprint() const override { return source_.fingerprint(); }
  std::string read(int64_t index, void* dst, const CropDraw& draw) const override;

 private:
  const ImageSource& source_;
  ImageVariant variant_;
};

}  // namespace branchsae
