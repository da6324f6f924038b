#pragma once
/// Work captured once, then enqueued with one call.
#include <cuda_runtime_api.h>

#include <functional>

namespace branchsae::cuda {

/// Move-only; empty until captured.
class CudaGraph {
 public:
  CudaGraph() = default;
  /// Records what `body` enqueues on the stream it is given; nothing of it runs. `body` may launch kernels
  /// and copy, it must not allocate or wait. Throws what `body` throws, DeviceError when the capture fails.
  CudaGraph(int device, const std::function<void(cudaStream_t)>& body);
  ~CudaGraph();
  CudaGraph(CudaGraph&& other) noexcept;
  CudaGraph& operator=(CudaGraph&& other) noexcept;

  bool empty() const { return handle_ == nullptr; }
  /// Enqueues all of it.
  void launch(cudaStream_t stream) const;

 private:
  cudaGraphExec_t handle_ = nullptr;
};

}  // namespace branchsae::cuda
