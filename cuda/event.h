#pragma once
/// A point in a stream's work that other streams can wait for.
#include <cuda_runtime_api.h>

namespace branchsae::cuda {

class CudaEvent {
 public:
  /// Of the current device. Measures no time.
  CudaEvent();
  ~CudaEvent();
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  /// The point is now what is enqueued on `stream` so far.
  void record(cudaStream_t stream);
  /// The same while another error is on its way: says nothing when it fails.
  void record_quietly(cudaStream_t stream) noexcept;
  /// What is enqueued on `stream` from now on waits for the point; the host does not. Nothing when never
  /// recorded.
  void make_wait(cudaStream_t stream) const;
  /// Blocks the host until the point is reached. Throws DeviceError for what failed asynchronously.
  void synchronize() const;

 private:
  cudaEvent_t handle_ = nullptr;
};

}  // namespace branchsae::cuda
