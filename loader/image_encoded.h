#pragma once
/// Images that are decoded when they are asked for.
#include <functional>

#include "loader/image_listing.h"
#include "loader/image_source.h"
#include "loader/tar_shards.h"

namespace branchsae::loader {

/// 8-bit RGB, options.crop x options.crop. Decoding is described in loader/image_decode.h, resizing in
/// loader/image_resize.h.
class EncodedImages : public ImageSource {
 public:
  /// Gives an entry's bytes, or throws with the reason. Called from any thread.
  using Fetch = std::function<std::string(const ImageEntry&)>;
  /// Why an entry is no longer in its shard; empty when it is.
  using Lost = std::function<std::string(const ImageEntry&)>;
  /// `lost` is given for a tar shard, and for nothing else.
  EncodedImages(ImageListing listing, Fetch fetch, const ImageOptions& options, Lost lost = {});

  int64_t size() const override { return static_cast<int64_t>(listing_.entries.size()); }
  const ImageInfo& info(int64_t index) const override { return entry(index).info; }
  PixelFormat format() const override { return PixelFormat::kU8Rgb; }
  int64_t height() const override { return crop_; }
  int64_t width() const override { return crop_; }
  int64_t channels() const override { return 3; }
  std::string fingerprint() const override;
  std::string preparation() const override;
  std::string read(int64_t index, void* dst, const CropDraw& draw) const override;
  bool has_room() const override { return true; }
  int64_t shards() const override { return lost_ ? 1 : 0; }
  int64_t offset(int64_t index) const override { return entry(index).offset; }
  std::string lost(int64_t index) const override { return lost_ ? lost_(entry(index)) : ""; }

 private:
  const ImageEntry& entry(int64_t index) const { return listing_.entries.at(static_cast<size_t>(index)); }

  ImageListing listing_;
  Fetch fetch_;
  Lost lost_;
  int64_t resize_, crop_, max_pixels_, least_side_;
};

/// Fetches from files; `max_bytes` each.
EncodedImages::Fetch fetch_from_files(int64_t max_bytes);
/// Fetches from a shard at `path`.
EncodedImages::Fetch fetch_from_shard(const std::string& path, std::shared_ptr<const std::string> unpacked,
                                      int64_t max_bytes);

/// What went wrong, for ImageSource::read: never empty, without line ends.
std::string one_line_reason(std::string text);

}  // namespace branchsae::loader
