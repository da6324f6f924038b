#include "loader/image_encoded.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/files.h"
#include "loader/image_decode.h"
#include "loader/image_file.h"
#include "loader/image_resize.h"

namespace branchsae::loader {

EncodedImages::EncodedImages(ImageListing listing, Fetch fetch, const ImageOptions& options, Lost lost)
    : listing_(std::move(listing)),
      fetch_(std::move(fetch)),
      lost_(std::move(lost)),
      resize_(options.resize),
      crop_(options.crop),
      max_pixels_(options.max_pixels),
      least_side_(options.scaled_decode ? options.resize : kFullSize) {}

std::string EncodedImages::fingerprint() const {
  std::string text;
  for (const ImageEntry& entry : listing_.entries) {
    std::string_view name = entry.info.name;
    if (name.starts_with(listing_.prefix)) name.remove_prefix(listing_.prefix.size());
    text += name;
    text += '\t' + std::to_string(entry.bytes) + '\n';
  }
  return sha256_of(text);
}

std::string EncodedImages::preparation() const {
  return "short side " + std::to_string(resize_) + ", centre crop " + std::to_string(crop_) +
         (least_side_ == kFullSize ? ", JPEGs decoded whole" : "");
}

std::string EncodedImages::read(int64_t index, void* dst, const CropDraw& draw) const {
  try {
    const std::string bytes = fetch_(entry(index));
    const std::span<const uint8_t> span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    const RgbImage image = decode_image(span, entry(index).info.name, max_pixels_, least_side_);
    resize_and_crop(image, resize_, crop_, static_cast<uint8_t*>(dst), draw);
    return "";
  } catch (const std::exception& error) {
    return one_line_reason(error.what());
  }
}

EncodedImages::Fetch fetch_from_files(int64_t max_bytes) {
  return [max_bytes](const ImageEntry& entry) {
    const RegularFile file(entry.path.empty() ? entry.info.name : entry.path);
    return read_range(file, 0, file.size(), max_bytes);
  };
}

EncodedImages::Fetch fetch_from_shard(const std::string& path, std::shared_ptr<const std::string> unpacked,
                                      int64_t max_bytes) {
  if (!unpacked) {
    return [path, max_bytes](const ImageEntry& entry) {
      // A shard that was written anew has other bytes there, which might be an image too.
      if (std::string lost = lost_in_shard(path, entry); !lost.empty()) throw InputError(lost);
      return read_range(RegularFile(path), entry.offset, entry.bytes, max_bytes);
    };
  }
  return [unpacked = std::move(unpacked), max_bytes](const ImageEntry& entry) {
    if (entry.bytes > max_bytes) throw InputError("is larger than the cap for one image");
    return unpacked->substr(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.bytes));
  };
}

std::string one_line_reason(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20; }, ' ');
  return text.empty() ? "unknown cause" : text;
}

}  // namespace branchsae::loader
