#include <map>

#include "cuda/device.h"
#include "cuda/network/cudnn_convolution.h"

namespace branchsae::cuda {
namespace {

class CudnnConvPlan final : public ConvPlan {
 public:
  CudnnConvPlan(std::unique_ptr<CudnnPlan> plan, std::shared_ptr<const CudnnHandle> handle)
      : plan_(std::move(plan)), handle_(std::move(handle)) {}

  std::string name() const override { return plan_->name; }
  Standing standing() const override { return plan_->standing; }
  int64_t workspace_bytes() const override { return plan_->workspace_bytes; }
  Element bias_element() const override { return plan_->bias_element; }

  void run(cudaStream_t stream, const void* src, const void* weight, const void* bias, void* dst,
           void* workspace) override {
    // cuDNN takes addresses of inputs, too, without const.
    const std::array<void*, 4> pointers{const_cast<void*>(src), const_cast<void*>(weight),
                                        const_cast<void*>(bias), dst};
    CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "a variant pack");
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, kConvolutionTensors);
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
             static_cast<int64_t>(pointers.size()), pointers.data());
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
    pack.finalize();
    check_cudnn(cudnn().execute(handle_->on(stream), plan_->plan.handle(), pack.handle()), plan_->name);
  }

 private:
  std::unique_ptr<CudnnPlan> plan_;
  std::shared_ptr<const CudnnHandle> handle_;
};

class CudnnLibrary final : public ConvolutionLibrary {
 public:
  explicit CudnnLibrary(int index)
      : handle_(std::make_shared<const CudnnHandle>()), properties_(device_properties(index)) {}

  std::string description() const override { return "cuDNN " + cudnn().version_text(); }

  std::shared_ptr<ConvPlan> plan(const ConvProblem& problem, std::string& why_not) override {
    const auto [known, is_new] = plans_.try_emplace(problem);
    Planned& planned = known->second;
    if (is_new) {
      if (auto found = plan_convolution(properties_, problem, planned.why_not)) {
        planned.plan = std::make_shared<CudnnConvPlan>(std::move(found), handle_);
      }
    }
    why_not = planned.why_not;
    return planned.plan;
  }

 private:
  struct Planned {
    std::shared_ptr<ConvPlan> plan;
    std::string why_not;
  };
  std::shared_ptr<const CudnnHandle> handle_;
  CudnnDescriptor properties_;
  std::map<ConvProblem, Planned> plans_;
};

}  // namespace

std::unique_ptr<ConvolutionLibrary> make_convolution_library(int index) {
  const CurrentDevice current(index);
  return std::make_unique<CudnnLibrary>(index);
}

}  // namespace branchsae::cuda
