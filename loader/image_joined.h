#pragma once
/// Several image sets as one.
#include "loader/image_source.h"

namespace branchsae::loader {

/// The parts' images one part after the other.
class JoinedImages : public ImageSource {
 public:
  /// Throws InputError when the parts differ in size or kind of pixels, naming the first two that do.
  explicit JoinedImages(std::vector<std::unique_ptr<ImageSource>> parts);

  int64_t size() const override { return starts_.back(); }
  const ImageInfo& info(int64_t index) const override;
  PixelFormat format() const override { return parts_.front()->format(); }
  int64_t height() const override { return parts_.front()->height(); }
  int64_t width() const override { return parts_.front()->width(); }
  int64_t channels() const override { return parts_.front()->channels(); }
  std::string fingerprint() const override;
  std::string preparation() const override;
  std::string read(int64_t index, void* dst, const CropDraw& draw) const override;
  int64_t shards() const override;
  int64_t shard(int64_t index) const override;
  int64_t offset(int64_t index) const override;
  std::string lost(int64_t index) const override;
  bool has_room() const override;

 private:
  size_t part_of(int64_t index) const;

  std::vector<std::unique_ptr<ImageSource>> parts_;
  std::vector<int64_t> starts_ = {0};  ///< [parts + 1] first index of each part
};

}  // namespace branchsae::loader
