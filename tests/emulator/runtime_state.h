#pragma once
/// The emulated runtime's own: allocations, streams, events, graphs. One lock guards it all.
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulator/runtime.h"

namespace branchsae::emulator {

struct Allocation {
  std::byte* block = nullptr;  ///< with the guard zones
  int64_t bytes = 0;
  bool pinned = false;      ///< host memory
  bool registered = false;  ///< somebody else's host memory: no guard zones
};

/// What cudaEventRecord leaves in a stream.
struct Mark {
  CUstream_st* stream = nullptr;
  bool reached = false;
  double time_ms = 0;
};

struct Work {
  std::function<void()> run;
  std::shared_ptr<Mark> wait_for;  ///< instead of `run`
};

/// A graph being captured, or captured. Node i needs the nodes it names.
struct GraphNode {
  std::function<void()> run;
  std::vector<int> needs;
};
struct Capture {
  std::vector<GraphNode> nodes;
  CUstream_st* origin = nullptr;
  std::vector<CUstream_st*> streams;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  bool invalid = false;
};

std::recursive_mutex& runtime_lock();

/// Remembers an error for cudaGetLastError and returns it.
cudaError_t report(cudaError_t error);
/// The error that every call returns once the device has failed; cudaSuccess while it has not.
cudaError_t sticky_error();
void set_sticky_error(cudaError_t error);

/// Runs what a destructor may call: a Failure is printed and kept for the next call that may throw.
void run_quietly(const std::function<void()>& run);
void throw_kept_failure();

// Memory.
const Allocation* find_allocation(const void* pointer);
/// Throws Failure when [pointer, pointer + bytes) is no part of one allocation of the device.
void check_device_range(const void* pointer, int64_t bytes, const char* doing);
bool is_pinned(const void* pointer);

// Streams.
CUstream_st* resolve(cudaStream_t stream);
bool exists(const CUstream_st* stream);
/// Puts work at the stream's end, or into the graph it captures; runs it now unless streams are deferred.
cudaError_t enqueue_work(CUstream_st* stream, std::function<void()> run);
void run_stream(CUstream_st* stream, const Mark* until = nullptr);
void run_all_streams();
bool capturing(const CUstream_st* stream);
/// Whether a capture forbids the running thread calls like cudaMalloc; such a call spoils the capture.
bool capture_forbids();
void drop_all_work();

}  // namespace branchsae::emulator

struct CUstream_st {
  unsigned flags = 0;
  std::deque<branchsae::emulator::Work> work;
  bool running = false;
  std::shared_ptr<branchsae::emulator::Capture> capture;
  std::vector<int> last_nodes;  ///< of the capture: what the next node needs
};
struct CUevent_st {
  unsigned flags = 0;
  std::shared_ptr<branchsae::emulator::Mark> mark;
  std::shared_ptr<branchsae::emulator::Capture> capture;  ///< when recorded in one
  std::vector<int> nodes;
};
struct CUgraph_st {
  std::vector<branchsae::emulator::GraphNode> nodes;
};
struct CUgraphExec_st {
  std::vector<branchsae::emulator::GraphNode> nodes;
};
