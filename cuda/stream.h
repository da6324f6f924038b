#pragma once
/// A CUDA stream as the engine sees it.
#include <cuda_runtime_api.h>

#include <memory>

#include "cuda/event.h"
#include "engine/stream.h"

namespace branchsae::cuda {

class CudaStream : public Stream {
 public:
  /// A stream of its own on device `index`; it does not wait for the default stream.
  explicit CudaStream(int index);
  /// Somebody else's stream, which must outlive this object.
  CudaStream(int index, cudaStream_t borrowed) : index_(index), handle_(borrowed) {}
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void synchronize() override;
  void wait_for(Stream& other) override;
  cudaStream_t handle() const { return handle_; }
  int device() const { return index_; }

 private:
  int index_;
  cudaStream_t handle_ = nullptr;
  bool owned_ = false;
  std::unique_ptr<CudaEvent> reached_;  ///< where others wait for this stream; made when the first one does
};

/// The CUDA stream behind `stream`. Throws DeviceError when it belongs to another kind of device, or to
/// another one than device `index`.
CudaStream& cuda_stream(Stream& stream, int index);

}  // namespace branchsae::cuda
