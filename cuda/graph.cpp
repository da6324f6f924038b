#include "cuda/graph.h"

#include <fmt/format.h>

#include <utility>

#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/stream.h"
#include "engine/log.h"

namespace branchsae::cuda {
namespace {

/// A recorded graph that is not instantiated yet.
class Recording {
 public:
  Recording(cudaStream_t stream, const std::function<void(cudaStream_t)>& body) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin a capture");
    try {
      body(stream);
    } catch (...) {
      // The stream must leave the capture whatever happened in it; the error of `body` is the one to report.
      if (cudaStreamEndCapture(stream, &graph_) != cudaSuccess) cudaGetLastError();
      destroy();
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph_), "end a capture");
  }
  ~Recording() { destroy(); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  cudaGraph_t get() const { return graph_; }

 private:
  void destroy() {
    if (graph_ != nullptr && cudaGraphDestroy(graph_) != cudaSuccess) cudaGetLastError();
    graph_ = nullptr;
  }
  cudaGraph_t graph_ = nullptr;
};

}  // namespace

CudaGraph::CudaGraph(int device, const std::function<void(cudaStream_t)>& body) {
  const CurrentDevice current(device);
  const CudaStream stream(device);
  const Recording recording(stream.handle(), body);
  check(cudaGraphInstantiate(&handle_, recording.get(), 0), "make a graph ready to run");
}

CudaGraph::~CudaGraph() {
  if (handle_ == nullptr) return;
  if (const cudaError_t status = cudaGraphExecDestroy(handle_); status != cudaSuccess) {
    cudaGetLastError();
    log(LogLevel::kWarning, fmt::format("destroy a graph: {}", cudaGetErrorString(status)));
  }
}

CudaGraph::CudaGraph(CudaGraph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

CudaGraph& CudaGraph::operator=(CudaGraph&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

void CudaGraph::launch(cudaStream_t stream) const {
  check(cudaGraphLaunch(handle_, stream), "launch a graph");
}

}  // namespace branchsae::cuda
