#include "cuda/network/input.h"

#include "cuda/kernels/convert_images.cuh"
#include "cuda/kernels/preprocess.cuh"
#include "cuda/launch.h"
#include "cuda/network/dispatch.cuh"

namespace branchsae::cuda {

void write_input(cudaStream_t stream, View<const float, 4> images, const Activation& dst) {
  const StridedImages src{images.data,
                          {images.stride[0], images.stride[1], images.stride[2], images.stride[3]},
                          static_cast<int32_t>(images.shape[0])};
  with_element(dst.layout.element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(convert_images_kernel<T>, "convert_images",
           {.grid = group_blocks(dst.layout), .block = kNhwcBlock}, stream, src, nhwc<T>(dst));
  });
}

void write_input(cudaStream_t stream, View<const uint8_t, 4> images, const float* table,
                 const std::array<int, 3>& order, const Activation& dst) {
  constexpr int64_t kPixels = 4 * kNhwcBlock;  // of a block
  const int64_t grid = (dst.layout.pixels() + kPixels - 1) / kPixels;
  with_element(dst.layout.element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(preprocess_kernel<T>, "preprocess", {.grid = grid, .block = kNhwcBlock}, stream, images.data,
           static_cast<int32_t>(images.shape[0]), table, PixelOrder{{order[0], order[1], order[2]}},
           nhwc<T>(dst));
  });
}

}  // namespace branchsae::cuda
