#include "cuda/event.h"

#include <fmt/format.h>

#include "cuda/error.h"
#include "engine/log.h"

namespace branchsae::cuda {

CudaEvent::CudaEvent() {
  check(cudaEventCreateWithFlags(&handle_, cudaEventDisableTiming), "make an event");
}

CudaEvent::~CudaEvent() {
  if (const cudaError_t status = cudaEventDestroy(handle_); status != cudaSuccess) {
    cudaGetLastError();
    log(LogLevel::kWarning, fmt::format("destroy an event: {}", cudaGetErrorString(status)));
  }
}

void CudaEvent::record(cudaStream_t stream) {
  check(cudaEventRecord(handle_, stream), "record an event");
}

void CudaEvent::record_quietly(cudaStream_t stream) noexcept {
  if (cudaEventRecord(handle_, stream) != cudaSuccess) cudaGetLastError();
}

void CudaEvent::make_wait(cudaStream_t stream) const {
  check(cudaStreamWaitEvent(stream, handle_, 0), "let a stream wait for an event");
}

void CudaEvent::synchronize() const {
  check(cudaEventSynchronize(handle_), "wait for an event");
}

}  // namespace branchsae::cuda
