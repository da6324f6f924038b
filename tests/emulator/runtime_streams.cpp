/// Streams, events and graphs of the emulated runtime.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "tests/emulator/failure.h"
#include "tests/emulator/runtime_state.h"

namespace branchsae::emulator {
namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

struct Streams {
  CUstream_st legacy;  // the default stream
  std::set<CUstream_st*> made;
  std::set<CUevent_st*> events;
};
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

Streams& streams() {
  static Streams all;
  return all;
}

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool blocking(const CUstream_st* stream) {
  return (stream->flags & cudaStreamNonBlocking) == 0;
}

/// The order of a graph's nodes: any in which each comes after those it needs. Random when blocks are, since
/// nothing but these needs may be relied upon.
std::vector<int> node_order(const std::vector<GraphNode>& nodes) {
  std::vector<int> order, ready;
  std::vector<size_t> missing(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    missing[i] = nodes[i].needs.size();
    if (missing[i] == 0) ready.push_back(static_cast<int>(i));
  }
  uint64_t state = settings().seed;
  while (!ready.empty()) {
    size_t at = 0;
    if (settings().order == Order::kReverse) at = ready.size() - 1;
    if (settings().order == Order::kRandom) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      at = (state >> 33) % ready.size();
    }
    const int node = ready[at];
    ready.erase(ready.begin() + static_cast<std::ptrdiff_t>(at));
    order.push_back(node);
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (std::count(nodes[i].needs.begin(), nodes[i].needs.end(), node) != 0 && --missing[i] == 0)
        ready.push_back(static_cast<int>(i));
    }
  }
  return order;
}

void run_nodes(const std::vector<GraphNode>& nodes) {
  for (const int i : node_order(nodes)) {
    if (sticky_error() != cudaSuccess) return;
    nodes[static_cast<size_t>(i)].run();
  }
}

void add_unique(std::vector<int>& to, const std::vector<int>& from) {
  for (const int node : from) {
    if (std::find(to.begin(), to.end(), node) == to.end()) to.push_back(node);
  }
}

/// Whether every node that `stream` ended with comes before those of `origin`.
bool joined(const Capture& capture, const CUstream_st* stream) {
  std::vector<int> reached = capture.origin->last_nodes;
  for (size_t i = 0; i < reached.size(); ++i) {
    const std::vector<int> needs = capture.nodes[static_cast<size_t>(reached[i])].needs;
    add_unique(reached, needs);
  }
  return std::all_of(stream->last_nodes.begin(), stream->last_nodes.end(), [&](int node) {
    return std::find(reached.begin(), reached.end(), node) != reached.end();
  });
}

cudaError_t make_stream(cudaStream_t* stream, unsigned flags) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  if (flags != cudaStreamDefault && flags != cudaStreamNonBlocking) return report(cudaErrorInvalidValue);
  *stream = new CUstream_st{flags, {}, false, nullptr, {}};
  streams().made.insert(*stream);
  return cudaSuccess;
}

/// A call that would wait while its stream captures spoils the capture.
bool refuse_capture(CUstream_st* stream) {
  if (!capturing(stream)) return false;
  stream->capture->invalid = true;
  return true;
}

}  // namespace

CUstream_st* resolve(cudaStream_t stream) {
  return stream == nullptr ? &streams().legacy : stream;
}

bool exists(const CUstream_st* stream) {
  return stream == &streams().legacy || streams().made.count(const_cast<CUstream_st*>(stream)) != 0;
}

bool capturing(const CUstream_st* stream) {
  return stream->capture != nullptr;
}

bool capture_forbids() {
  bool forbidden = false;
  for (CUstream_st* stream : streams().made) {
    if (!capturing(stream) || stream->capture->mode == cudaStreamCaptureModeRelaxed) continue;
    if (thread_mode == cudaStreamCaptureModeRelaxed) continue;
    const bool others_only = stream->capture->thread != std::this_thread::get_id();
    const bool local = thread_mode == cudaStreamCaptureModeThreadLocal ||
                       stream->capture->mode == cudaStreamCaptureModeThreadLocal;
    if (others_only && local) continue;
    stream->capture->invalid = true;
    forbidden = true;
  }
  return forbidden;
}

void drop_all_work() {
  streams().legacy.work.clear();
  for (CUstream_st* stream : streams().made) {
    stream->work.clear();
    stream->capture.reset();
    stream->last_nodes.clear();
  }
}

void run_stream(CUstream_st* stream, const Mark* until) {
  if (stream->running) return;  // a host function that waits for its own stream
  stream->running = true;
  try {
    while (!stream->work.empty() && (until == nullptr || !until->reached)) {
      Work work = std::move(stream->work.front());
      stream->work.pop_front();
      if (work.wait_for != nullptr) {
        if (!work.wait_for->reached) run_stream(work.wait_for->stream, work.wait_for.get());
      } else if (sticky_error() == cudaSuccess) {
        work.run();
      }
    }
  } catch (...) {
    stream->running = false;
    throw;
  }
  stream->running = false;
}

void run_all_streams() {
  run_stream(&streams().legacy);
  const std::vector<CUstream_st*> all(streams().made.begin(), streams().made.end());
  for (CUstream_st* stream : all) run_stream(stream);
}

cudaError_t enqueue_work(CUstream_st* stream, std::function<void()> run) {
  throw_kept_failure();
  if (capturing(stream)) {
    Capture& capture = *stream->capture;
    if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
    capture.nodes.push_back({std::move(run), stream->last_nodes});
    stream->last_nodes = {static_cast<int>(capture.nodes.size()) - 1};
    return cudaSuccess;
  }
  // The default stream waits for the blocking ones, and they wait for it.
  if (stream == &streams().legacy) {
    const std::vector<CUstream_st*> all(streams().made.begin(), streams().made.end());
    for (CUstream_st* other : all) {
      if (blocking(other)) run_stream(other);
    }
  } else if (blocking(stream)) {
    run_stream(&streams().legacy);
  }
  stream->work.push_back({std::move(run), nullptr});
  if (!settings().defer) run_stream(stream);
  return cudaSuccess;
}

}  // namespace branchsae::emulator

using namespace branchsae::emulator;

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return make_stream(stream, cudaStreamDefault);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return make_stream(stream, flags);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return make_stream(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(runtime_lock());
  if (stream == nullptr || !exists(stream)) return report(cudaErrorInvalidResourceHandle);
  run_quietly([&] { run_stream(stream); });
  streams().made.erase(stream);
  delete stream;
  return report(sticky_error());
}
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  const Lock lock(runtime_lock());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream)) return report(cudaErrorInvalidResourceHandle);
  if (refuse_capture(stream)) return report(cudaErrorStreamCaptureUnsupported);
  throw_kept_failure();
  run_stream(stream);
  return report(sticky_error());
}
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const Lock lock(runtime_lock());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream)) return report(cudaErrorInvalidResourceHandle);
  if (refuse_capture(stream)) return report(cudaErrorStreamCaptureUnsupported);
  if (stream->work.empty()) return report(sticky_error());
  run_stream(stream);  // time goes on: whoever asks again gets another answer
  return cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream) || streams().events.count(event) == 0) return report(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) {
    if (capturing(stream) && stream->capture != event->capture) return report(cudaErrorStreamCaptureMerge);
    if (!capturing(stream)) {
      stream->capture = event->capture;
      stream->capture->streams.push_back(stream);
      stream->last_nodes.clear();
    }
    add_unique(stream->last_nodes, event->nodes);
    return cudaSuccess;
  }
  if (capturing(stream)) {
    stream->capture->invalid = true;
    return report(cudaErrorStreamCaptureIsolation);
  }
  if (event->mark == nullptr || event->mark->reached) return cudaSuccess;
  stream->work.push_back({nullptr, event->mark});
  if (!settings().defer) run_stream(stream);
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* argument) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream)) return report(cudaErrorInvalidResourceHandle);
  return report(enqueue_work(stream, [function, argument] { function(argument); }));
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  *event = new CUevent_st{flags, nullptr, nullptr, {}};
  streams().events.insert(*event);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(runtime_lock());
  if (streams().events.erase(event) == 0) return report(cudaErrorInvalidResourceHandle);
  delete event;
  return report(sticky_error());
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream) || streams().events.count(event) == 0) return report(cudaErrorInvalidResourceHandle);
  if (capturing(stream)) {
    event->capture = stream->capture;
    event->nodes = stream->last_nodes;
    event->mark.reset();
    return cudaSuccess;
  }
  event->capture.reset();
  auto mark = std::make_shared<Mark>();
  mark->stream = stream;
  event->mark = mark;
  return report(enqueue_work(stream, [mark] {
    mark->reached = true;
    mark->time_ms = now_ms();
  }));
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(runtime_lock());
  if (streams().events.count(event) == 0) return report(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) return report(cudaErrorCapturedEvent);
  if (event->mark != nullptr && !event->mark->reached) run_stream(event->mark->stream, event->mark.get());
  return report(sticky_error());
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(runtime_lock());
  if (streams().events.count(event) == 0) return report(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) return report(cudaErrorCapturedEvent);
  if (event->mark == nullptr || event->mark->reached) return report(sticky_error());
  run_stream(event->mark->stream, event->mark.get());
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  const Lock lock(runtime_lock());
  for (const cudaEvent_t event : {start, end}) {
    if (streams().events.count(event) == 0 || (event->flags & cudaEventDisableTiming) != 0 ||
        event->mark == nullptr)
      return report(cudaErrorInvalidResourceHandle);
    if (!event->mark->reached) return cudaErrorNotReady;
  }
  *ms = static_cast<float>(end->mark->time_ms - start->mark->time_ms);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  if (stream == nullptr || !exists(stream)) return report(cudaErrorStreamCaptureUnsupported);
  if (capturing(stream)) return report(cudaErrorInvalidValue);
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  stream->capture->thread = std::this_thread::get_id();
  stream->capture->streams = {stream};
  stream->last_nodes.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(runtime_lock());
  *graph = nullptr;
  if (stream == nullptr || !exists(stream) || !capturing(stream)) return report(cudaErrorInvalidValue);
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) return report(cudaErrorStreamCaptureUnmatched);
  cudaError_t status = capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  for (CUstream_st* member : capture->streams) {
    if (status == cudaSuccess && !joined(*capture, member)) status = cudaErrorStreamCaptureUnjoined;
  }
  for (CUstream_st* member : capture->streams) {
    member->capture.reset();
    member->last_nodes.clear();
  }
  if (status == cudaSuccess) *graph = new CUgraph_st{capture->nodes};
  return report(status);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  const Lock lock(runtime_lock());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream)) return report(cudaErrorInvalidResourceHandle);
  *status = cudaStreamCaptureStatusNone;
  if (capturing(stream)) {
    *status = stream->capture->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  }
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  if (graph == nullptr) return report(cudaErrorInvalidValue);
  *exec = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return report(sticky_error());
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  CUstream_st* stream = resolve(handle);
  if (exec == nullptr || !exists(stream)) return report(cudaErrorInvalidResourceHandle);
  auto nodes = std::make_shared<std::vector<GraphNode>>(exec->nodes);
  return report(enqueue_work(stream, [nodes] { run_nodes(*nodes); }));
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (graph == nullptr || count == nullptr || nodes != nullptr) return report(cudaErrorInvalidValue);
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
