#include "cuda/network/lrn.h"

#include "cuda/kernels/lrn.cuh"
#include "cuda/launch.h"
#include "cuda/network/dispatch.cuh"

namespace branchsae::cuda {
namespace {

constexpr int kUsualSize = 5;

class Lrn final : public UnaryLayer {
 public:
  Lrn(const LrnOp& op, const Slot& src, const Slot& dst)
      : UnaryLayer(src, dst),
        numbers_{op.alpha / static_cast<float>(op.size), op.beta, op.bias, static_cast<int32_t>(op.size)} {}
  void enqueue(cudaStream_t stream) override {
    with_element(dst_.layout.element, [&](auto tag) {
      using T = typename decltype(tag)::type;
      numbers_.size == kUsualSize ? run<T, kUsualSize>(stream) : run<T, 0>(stream);
    });
  }

 private:
  template <class T, int kSize>
  void run(cudaStream_t stream) const {
    const auto kernel = numbers_.beta == 0.75F ? lrn_kernel<T, kSize, true> : lrn_kernel<T, kSize, false>;
    launch(kernel, "lrn", {.grid = group_blocks(dst_.layout), .block = kNhwcBlock}, stream,
           nhwc<const T>(src_), nhwc<T>(dst_), numbers_);
  }

  LrnNumbers numbers_;
};

}  // namespace

LayerPtr make_lrn(const LrnOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Lrn>(op, src, dst);
}

}  // namespace branchsae::cuda
