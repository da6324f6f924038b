#pragma once
/// How activations lie in a device's memory: [N][H][W][C], channels padded with zeros to whole 16-byte
/// groups.
///
/// Values without a grid ([N, C]: logits, probabilities) are float32 rows whatever the network's precision,
/// so that they keep their digits. The zeros beyond C are an invariant: weights packed with zeros there rely
/// on it (0 * NaN would spread).
#include <string>

#include "cuda/network/element.h"
#include "engine/shape.h"

namespace branchsae::cuda {

struct Layout {
  int64_t n = 0, c = 0, h = 1, w = 1;
  bool grid = false;  ///< rank 4: [N, C, H, W], else [N, C]
  Element element = Element::kF32;

  int64_t group() const { return 16 / element_bytes(element); }
  int64_t padded_channels() const { return (c + group() - 1) / group() * group(); }
  int64_t pixels() const { return n * h * w; }
  Shape shape() const { return grid ? Shape{n, c, h, w} : Shape{n, c}; }
};

/// Logical shape [N, C, H, W] or [N, C] stored as `element`, the latter always as float32. Throws ShapeError
/// for another rank, a dimension that is not positive, or more groups than a launch has threads; `what` names
/// the value.
Layout make_layout(const Shape& shape, Element element, const std::string& what);

/// Where a value will be: channels [offset, offset + padded) of the pixels of one of the plan's buffers.
struct Slot {
  Layout layout;
  int buffer = -1;
  int64_t offset = 0;        ///< elements
  int64_t pixel_stride = 0;  ///< elements

  bool dense() const { return pixel_stride == layout.padded_channels(); }
  int64_t buffer_bytes() const { return layout.pixels() * pixel_stride * element_bytes(layout.element); }
};

/// Activations at an address.
struct Activation {
  void* data = nullptr;
  Layout layout;
  int64_t pixel_stride = 0;
};

}  // namespace branchsae::cuda
