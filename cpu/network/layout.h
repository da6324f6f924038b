#pragma once
/// How activations lie in memory: [N][ceil(C/block)][H][W][block], channels beyond C zero.
///
/// block is 16 with AVX-512, 8 below (what oneDNN's convolutions want), and 1 (plain NCHW) for images of few
/// channels, where a block would be mostly padding. Values without a grid have H = W = 1, so they are dense
/// rows. The zeros beyond C are an invariant: weights packed with zeros there rely on it (0 * NaN would
/// spread).
#include <cstdint>

#include "engine/shape.h"

namespace branchsae::cpu {

struct Layout {
  int64_t n = 0, c = 0, h = 1, w = 1;
  int64_t block = 1;
  bool grid = false;  ///< rank 4: [N, C, H, W], else [N, C]

  int64_t blocks() const { return (c + block - 1) / block; }
  int64_t padded_channels() const { return blocks() * block; }
  int64_t plane_size() const { return h * w * block; }            ///< elements of one channel block
  int64_t image_size() const { return blocks() * plane_size(); }  ///< elements of one image
  Shape shape() const { return grid ? Shape{n, c, h, w} : Shape{n, c}; }
};

/// Logical shape [N, C, H, W] or [N, C] laid out in channel blocks. Throws ShapeError for another rank or a
/// dimension that is not positive; `what` names the value.
Layout make_layout(const Shape& shape, int64_t block, const std::string& what);

/// Activations at an address. A slice of a concat's channels has the image stride of the whole.
struct Blob {
  float* data = nullptr;
  Layout layout;
  int64_t image_stride = 0;  ///< elements

  float* plane(int64_t image, int64_t channel_block) const {
    return data + image * image_stride + channel_block * layout.plane_size();
  }
  bool dense() const { return layout.n == 1 || image_stride == layout.image_size(); }
};

/// Sets the channels beyond C to zero again, after an operation that does not keep zeros.
void zero_padding_channels(const Blob& blob);

}  // namespace branchsae::cpu
