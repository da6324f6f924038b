#include "loader/image_array.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/files.h"
#include "loader/image_encoded.h"
#include "loader/image_file.h"
#include "loader/image_resize.h"

namespace branchsae::loader {
namespace {

/// [3, pixels] to [pixels, 3].
void interleave(const float* planes, int64_t pixels, float* dst) {
  for (int64_t i = 0; i < pixels; ++i) {
    for (int64_t c = 0; c < 3; ++c) dst[3 * i + c] = planes[c * pixels + i];
  }
}

}  // namespace

ArrayImages::ArrayImages(const std::string& path) : path_(path), header_(read_npy_header(path)) {
  const Shape& shape = header_.shape;
  if (header_.dtype == "|u1" && shape.size() == 4 && shape[3] == 3) {
    height_ = shape[1];
    width_ = shape[2];
  } else if (header_.dtype == "<f4" && shape.size() == 4 && shape[1] == 3) {
    format_ = PixelFormat::kF32;
    height_ = shape[2];
    width_ = shape[3];
  } else {
    throw InputError(fmt::format(
        "'{}' holds {} {}; images are float32 [N, 3, H, W], preprocessed, or uint8 [N, H, W, 3], RGB",
        printable_path(path), header_.dtype, to_string(shape)));
  }
  if (element_count(shape) == 0) {
    throw InputError(
        fmt::format("'{}' holds no image: its shape is {}", printable_path(path), to_string(shape)));
  }
  const std::string name = printable_path(path);
  infos_.resize(static_cast<size_t>(shape[0]));
  for (size_t i = 0; i < infos_.size(); ++i) infos_[i].name = fmt::format("{}[{}]", name, i);
}

std::string ArrayImages::fingerprint() const {
  return sha256_of(
      fmt::format("{}\t{}\t{}\n", printable_path(base_name(path_)), header_.dtype, to_string(header_.shape)));
}

std::string ArrayImages::read(int64_t index, void* dst, const CropDraw& draw) const {
  try {
    const int64_t offset = header_.data_offset + index * image_bytes();
    const RegularFile file(path_);
    if (format_ == PixelFormat::kU8Rgb) {
      file.read(offset, image_bytes(), dst);
    } else {
      std::vector<float> planes(static_cast<size_t>(height_ * width_ * 3));
      file.read(offset, image_bytes(), planes.data());
      interleave(planes.data(), height_ * width_, static_cast<float*>(dst));
    }
    if (!draw.flip) return "";
    if (format_ == PixelFormat::kU8Rgb) {
      mirror_rows(height_, width_, 3, static_cast<uint8_t*>(dst));
    } else {
      mirror_rows(height_, width_, 3, static_cast<float*>(dst));
    }
    return "";
  } catch (const std::exception& error) {
    return one_line_reason(error.what());
  }
}

}  // namespace branchsae::loader
