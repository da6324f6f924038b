#pragma once
/// Images that are rows of an .npy file.
#include "engine/npy.h"
#include "loader/image_source.h"

namespace branchsae::loader {

/// float32 [N, 3, H, W], preprocessed: delivered as float [H, W, 3]; or uint8 [N, H, W, 3] RGB: delivered as
/// is. Rows are read when asked for; nothing else is held in memory.
class ArrayImages : public ImageSource {
 public:
  /// Throws InputError: no .npy, another type or shape.
  explicit ArrayImages(const std::string& path);

  int64_t size() const override { return static_cast<int64_t>(infos_.size()); }
  const ImageInfo& info(int64_t index) const override { return infos_.at(static_cast<size_t>(index)); }
  PixelFormat format() const override { return format_; }
  int64_t height() const override { return height_; }
  int64_t width() const override { return width_; }
  int64_t channels() const override { return 3; }
  std::string fingerprint() const override;
  std::string read(int64_t index, void* dst, const CropDraw& draw) const override;

 private:
  std::string path_;
  NpyHeader header_;
  PixelFormat format_ = PixelFormat::kU8Rgb;
  int64_t height_ = 0, width_ = 0;
  std::vector<ImageInfo> infos_;
};

}  // namespace branchsae::loader
