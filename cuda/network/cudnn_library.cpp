#include <map>
#include <mutex>

#include "cuda/device.h"
#include "cuda/network/cudnn_convolution.h"

namespace branchsae::cuda {
namespace {

/// What cuDNN said about a problem, once a process and device: planning takes longer than most batches.
struct Planned {
  std::shared_ptr<const CudnnPlan> plan;
  std::string why_not;
};
class PlanCache {
 public:
  Planned find(int device, const CudnnDescriptor& properties, const ConvProblem& problem) {
    const std::lock_guard lock(mutex_);
    const auto [known, is_new] = plans_.try_emplace({device, problem});
    if (!is_new) return known->second;
    try {
      known->second.plan = plan_convolution(properties, problem, known->second.why_not);
    } catch (...) {
      plans_.erase(known);
      throw;
    }
    return known->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<int, ConvProblem>, Planned> plans_;
};

PlanCache& plan_cache() {
  // Never destroyed: cuDNN may be gone before static objects are.
  static PlanCache& cache = *new PlanCache;
  return cache;
}

class CudnnConvPlan final : public ConvPlan {
 public:
  CudnnConvPlan(std::shared_ptr<const CudnnPlan> plan, std::shared_ptr<const CudnnHandle> handle)
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
  std::shared_ptr<const CudnnPlan> plan_;
  std::shared_ptr<const CudnnHandle> handle_;
};

class CudnnLibrary final : public ConvolutionLibrary {
 public:
  explicit CudnnLibrary(int device)
      : device_(device),
        handle_(std::make_shared<const CudnnHandle>()),
        properties_(device_properties(device)) {}

  std::string description() const override { return "cuDNN " + cudnn().version_text(); }

  std::shared_ptr<ConvPlan> plan(const ConvProblem& problem, std::string& why_not) override {
    Planned planned = plan_cache().find(device_, properties_, problem);
    why_not = std::move(planned.why_not);
    if (planned.plan == nullptr) return nullptr;
    return std::make_shared<CudnnConvPlan>(std::move(planned.plan), handle_);
  }

 private:
  int device_;
  std::shared_ptr<const CudnnHandle> handle_;
  CudnnDescriptor properties_;
};

}  // namespace

std::unique_ptr<ConvolutionLibrary> make_convolution_library(int index) {
  const CurrentDevice current(index);
  return std::make_unique<CudnnLibrary>(index);
}

}  // namespace branchsae::cuda
