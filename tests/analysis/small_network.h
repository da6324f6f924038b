#pragma once
/// A small network's images in memory, and autoencoders whose answers are known.
#include <algorithm>
#include <string>
#include <vector>

#include "engine/images.h"
#include "model/sae_file.h"
#include "tests/reference/golden.h"

namespace branchsae::test {

/// The golden set's preprocessed images, each with a class; mirrored when a draw says so.
class ArrayImages final : public ImageSource {
 public:
  ArrayImages(const reference::Array& images, const std::vector<int32_t>& labels) : shape_(images.shape) {
    const reference::Array rows = reference::tokens(images);
    pixels_.assign(rows.data.begin(), rows.data.end());
    for (size_t i = 0; i < labels.size(); ++i) info_.push_back({"image " + std::to_string(i), labels[i]});
  }
  int64_t size() const override { return shape_[0]; }
  const ImageInfo& info(int64_t index) const override { return info_[static_cast<size_t>(index)]; }
  PixelFormat format() const override { return PixelFormat::kF32; }
  int64_t height() const override { return shape_[2]; }
  int64_t width() const override { return shape_[3]; }
  int64_t channels() const override { return shape_[1]; }
  std::string fingerprint() const override { return "golden"; }
  std::string read(int64_t index, void* dst, const CropDraw& draw) const override {
    const float* image = pixels_.data() + index * height() * width() * channels();
    auto* out = static_cast<float*>(dst);
    for (int64_t y = 0; y < height(); ++y) {
      for (int64_t x = 0; x < width(); ++x) {
        const int64_t from = draw.flip ? width() - 1 - x : x;
        out = std::copy_n(image + (y * width() + from) * channels(), channels(), out);
      }
    }
    return "";
  }

 private:
  Shape shape_;
  std::vector<float> pixels_;
  std::vector<ImageInfo> info_;
};

/// Latent i is channel i: of a token keeps what is positive of the k largest.
inline SaeFile neurons(const std::string& tap, int64_t d, int64_t k) {
  SaeFile sae;
  sae.tap = tap;
  sae.spec = {.d = d, .n = d, .k = k};
  sae.parameters.w = HostTensor({d, d});
  for (int64_t i = 0; i < d; ++i) sae.parameters.w[i * d + i] = 1;
  sae.parameters.b_enc = HostTensor({d});
  sae.parameters.b_pre = HostTensor({d});
  return sae;
}

}  // namespace branchsae::test
