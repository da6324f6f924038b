#include "cuda/network/convolution.h"

#include <fmt/format.h>

#include <utility>

#include "engine/shape.h"

namespace branchsae::cuda {
namespace {

std::string activation_text(const Shape& shape, int64_t pixel_stride) {
  const std::string text = to_string(shape);
  return pixel_stride == shape.back() ? text : fmt::format("{} (pixels {} apart)", text, pixel_stride);
}

}  // namespace

std::string ConvProblem::text() const {
  const auto src = activation_text({images, height, width, channels}, src_pixel_stride);
  const auto dst = activation_text({images, out_height, out_width, outputs}, dst_pixel_stride);
  const Shape weight{outputs, kernel[0], kernel[1], channels / groups};
  return fmt::format("{} * {} -> {}", src, to_string(weight), dst);
}

}  // namespace branchsae::cuda
