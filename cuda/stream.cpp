#include "cuda/stream.h"

#include <fmt/format.h>

#include "cuda/device.h"
#include "cuda/error.h"
#include "engine/error.h"
#include "engine/log.h"

namespace branchsae::cuda {

CudaStream::CudaStream(int index) : index_(index), owned_(true) {
  const CurrentDevice current(index);
  check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking),
        fmt::format("make a stream on cuda:{}", index));
}

CudaStream::~CudaStream() {
  if (!owned_) return;
  if (const cudaError_t status = cudaStreamDestroy(handle_); status != cudaSuccess) {
    cudaGetLastError();
    log(LogLevel::kWarning,
        fmt::format("destroy a stream of cuda:{}: {}", index_, cudaGetErrorString(status)));
  }
}

void CudaStream::synchronize() {
  check(cudaStreamSynchronize(handle_), fmt::format("wait for cuda:{}", index_));
}

void CudaStream::wait_for(Stream& other) {
  CudaStream& found = cuda_stream(other, index_);
  const CurrentDevice current(index_);
  if (found.reached_ == nullptr) found.reached_ = std::make_unique<CudaEvent>();
  found.reached_->record(found.handle_);
  found.reached_->make_wait(handle_);
}

CudaStream& cuda_stream(Stream& stream, int index) {
  auto* found = dynamic_cast<CudaStream*>(&stream);
  if (found == nullptr)
    throw DeviceError(fmt::format("cuda:{} was given a stream of another kind of device", index));
  if (found->device() != index) {
    throw DeviceError(fmt::format("cuda:{} was given a stream of cuda:{}", index, found->device()));
  }
  return *found;
}

}  // namespace branchsae::cuda
