/// The emulated runtime: what tests of the backend rely on.
#include <doctest/doctest.h>

#include "cuda/arch/warp.cuh"
#include "cuda/error.h"
#include "cuda/launch.h"
#include "engine/error.h"
#include "tests/emulator/failure.h"
#include "tests/emulator/planted.h"
#include "tests/emulator/runtime.h"

using namespace branchsae;
using namespace branchsae::cuda;
using emulator::Failure;

namespace {

__global__ void add_kernel(int* values, int count, int by) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) values[i] += by;
}
__global__ void copy_kernel(const int* from, int* to) {
  to[threadIdx.x] = from[threadIdx.x];
}

constexpr int kCount = 32;
constexpr size_t kBytes = kCount * sizeof(int);

/// Settings as they were, at the end; the device too.
struct Restore {
  emulator::Settings before = emulator::settings();
  emulator::DeviceModel model = emulator::device_model();
  ~Restore() {
    emulator::reset_device();
    emulator::settings() = before;
    emulator::device_model() = model;
  }
};

struct Memory {
  int* data = nullptr;
  Memory() {
    void* memory = nullptr;
    REQUIRE(cudaMalloc(&memory, kBytes) == cudaSuccess);
    data = static_cast<int*>(memory);
  }
  ~Memory() { cudaFree(data); }
};

struct Queue {
  cudaStream_t handle = nullptr;
  Queue() { REQUIRE(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking) == cudaSuccess); }
  ~Queue() { cudaStreamDestroy(handle); }
};

struct Event {
  cudaEvent_t handle = nullptr;
  Event() { REQUIRE(cudaEventCreateWithFlags(&handle, cudaEventDisableTiming) == cudaSuccess); }
  ~Event() { cudaEventDestroy(handle); }
};

void add(const Memory& memory, int by, cudaStream_t stream) {
  launch(add_kernel, "add", {.grid = 1, .block = kCount}, stream, memory.data, kCount, by);
}

int first(const Memory& memory, cudaStream_t stream) {
  std::vector<int> values(kCount);
  REQUIRE(cudaMemcpyAsync(values.data(), memory.data, kBytes, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  return values[0];
}

/// A writes, B reads: the answer is the new one only when B waits for A.
int read_on_another_stream(bool wait) {
  const Memory memory, copy;
  const Queue a, b;
  const Event done;
  REQUIRE(cudaMemsetAsync(memory.data, 0, kBytes, a.handle) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(a.handle) == cudaSuccess);
  add(memory, 5, a.handle);
  REQUIRE(cudaEventRecord(done.handle, a.handle) == cudaSuccess);
  if (wait) REQUIRE(cudaStreamWaitEvent(b.handle, done.handle) == cudaSuccess);
  launch(copy_kernel, "copy", {.grid = 1, .block = kCount}, b.handle, memory.data, copy.data);
  return first(copy, b.handle);
}

}  // namespace

TEST_CASE("runtime: a missing wait between streams shows when streams stand still") {
  const Restore restore;
  CHECK(read_on_another_stream(false) == 5);  // streams that run at once hide it
  emulator::settings().defer = true;
  CHECK(read_on_another_stream(false) == 0);
  CHECK(read_on_another_stream(true) == 5);
}

TEST_CASE("runtime: pageable memory is taken at once, pinned memory in the stream's time") {
  const Restore restore;
  emulator::settings().defer = true;
  const Memory memory;
  const Queue queue;
  void* pinned = nullptr;
  REQUIRE(cudaMallocHost(&pinned, kBytes) == cudaSuccess);
  auto* source = static_cast<int*>(pinned);
  std::vector<int> pageable(kCount, 1);
  REQUIRE(cudaMemcpyAsync(memory.data, pageable.data(), kBytes, cudaMemcpyHostToDevice, queue.handle) ==
          cudaSuccess);
  pageable[0] = 2;
  CHECK(first(memory, queue.handle) == 1);
  source[0] = 1;
  REQUIRE(cudaMemcpyAsync(memory.data, source, kBytes, cudaMemcpyHostToDevice, queue.handle) == cudaSuccess);
  source[0] = 2;  // too early
  CHECK(first(memory, queue.handle) == 2);
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
}

TEST_CASE("runtime: a captured graph does its work at each launch, in any order its edges allow") {
  const Restore restore;
  for (const auto order : {emulator::Order::kForward, emulator::Order::kReverse, emulator::Order::kRandom}) {
    emulator::settings().order = order;
    const Memory memory, other;
    const Queue main, side;
    const Event fork, join;
    REQUIRE(cudaMemset(memory.data, 0, kBytes) == cudaSuccess);
    REQUIRE(cudaMemset(other.data, 0, kBytes) == cudaSuccess);
    REQUIRE(cudaStreamBeginCapture(main.handle, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    add(memory, 1, main.handle);
    REQUIRE(cudaEventRecord(fork.handle, main.handle) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(side.handle, fork.handle) == cudaSuccess);
    add(other, 10, side.handle);
    add(memory, 2, main.handle);
    CHECK(cudaStreamSynchronize(nullptr) == cudaSuccess);
    REQUIRE(cudaEventRecord(join.handle, side.handle) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(main.handle, join.handle) == cudaSuccess);
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamEndCapture(main.handle, &graph) == cudaSuccess);
    size_t nodes = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes) == cudaSuccess);
    CHECK(nodes == 3);
    CHECK(first(memory, main.handle) == 0);
    cudaGraphExec_t exec = nullptr;
    REQUIRE(cudaGraphInstantiate(&exec, graph) == cudaSuccess);
    CHECK(cudaGraphDestroy(graph) == cudaSuccess);
    for (int i = 0; i < 3; ++i) REQUIRE(cudaGraphLaunch(exec, main.handle) == cudaSuccess);
    CHECK(first(memory, main.handle) == 9);
    CHECK(first(other, main.handle) == 30);
    CHECK(cudaGraphExecDestroy(exec) == cudaSuccess);
  }
}

TEST_CASE("runtime: what cannot be captured is refused") {
  const Restore restore;
  const Memory memory;
  const Queue main, side;
  const Event fork;
  cudaGraph_t graph = nullptr;
  void* more = nullptr;
  REQUIRE(cudaStreamBeginCapture(main.handle, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(cudaMalloc(&more, 16) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(main.handle, &graph) == cudaErrorStreamCaptureInvalidated);
  cudaGetLastError();
  REQUIRE(cudaStreamBeginCapture(main.handle, cudaStreamCaptureModeRelaxed) == cudaSuccess);
  REQUIRE(cudaMalloc(&more, 16) == cudaSuccess);
  CHECK(cudaFree(more) == cudaSuccess);
  add(memory, 1, main.handle);
  REQUIRE(cudaEventRecord(fork.handle, main.handle) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(side.handle, fork.handle) == cudaSuccess);
  add(memory, 1, side.handle);
  CHECK(cudaStreamEndCapture(main.handle, &graph) == cudaErrorStreamCaptureUnjoined);
  REQUIRE(cudaStreamBeginCapture(main.handle, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(cudaStreamSynchronize(main.handle) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(main.handle, &graph) == cudaErrorStreamCaptureInvalidated);
  cudaGetLastError();
}

TEST_CASE("runtime: memory is limited, and an allocation can be made to fail") {
  const Restore restore;
  const int64_t before = emulator::live_allocations();
  emulator::device_model().memory_bytes = emulator::device_bytes() + 1000;
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, 1001) == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaSuccess);
  REQUIRE(cudaMalloc(&memory, 1000) == cudaSuccess);
  size_t free = 1, total = 0;
  CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess);
  CHECK(free == 0);
  CHECK(cudaFree(memory) == cudaSuccess);
  emulator::fail_allocation(2);
  REQUIRE(cudaMalloc(&memory, 10) == cudaSuccess);
  void* second = nullptr;
  CHECK(cudaMalloc(&second, 10) == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&second, 10) == cudaSuccess);
  CHECK(cudaFree(second) == cudaSuccess);
  CHECK(cudaFree(memory) == cudaSuccess);
  CHECK(cudaFree(&free) == cudaErrorInvalidValue);
  CHECK(emulator::live_allocations() == before);
  cudaGetLastError();
}

TEST_CASE("runtime: a launch can be made to fail, at once or later") {
  const Restore restore;
  const Memory memory;
  const Queue queue;
  emulator::fail_launch(2);
  add(memory, 1, queue.handle);
  CHECK_THROWS_WITH_AS(add(memory, 1, queue.handle), "add: too many resources requested for launch",
                       DeviceError);
  add(memory, 1, queue.handle);
  emulator::fail_launch(1, cudaErrorIllegalAddress, true);
  add(memory, 1, queue.handle);
  CHECK(cudaStreamSynchronize(queue.handle) == cudaErrorIllegalAddress);
  void* more = nullptr;
  CHECK(cudaMalloc(&more, 16) == cudaErrorIllegalAddress);  // the device is lost
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  emulator::reset_device();
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaMalloc(&more, 16) == cudaSuccess);
  CHECK(cudaFree(more) == cudaSuccess);
}

TEST_CASE("runtime: launches that no device takes") {
  const Memory memory;
  const auto with = [&](LaunchShape shape) { launch(add_kernel, "add", shape, nullptr, memory.data, 0, 0); };
  with({.grid = 0, .block = 32});
  CHECK_THROWS_AS(with({.grid = 1, .block = 1025}), DeviceError);
  CHECK_THROWS_AS(with({.grid = int64_t{1} << 31, .block = 32}), DeviceError);
  CHECK_THROWS_AS(with({.grid = 1, .block = 32, .smem_bytes = 228 << 10}), DeviceError);
  with({.grid = 1, .block = 32, .smem_bytes = 227 << 10});
}

TEST_CASE("runtime: copies beyond an allocation or in the wrong direction are mistakes") {
  const Memory memory;
  std::vector<int> host(2 * kCount);
  CHECK_THROWS_WITH_AS(cudaMemcpyAsync(host.data(), memory.data, kBytes + 4, cudaMemcpyDeviceToHost),
                       "copy from bytes 0 to 132 of 128 bytes of device memory", Failure);
  CHECK_THROWS_AS(cudaMemcpyAsync(host.data(), memory.data, kBytes, cudaMemcpyHostToDevice), Failure);
  CHECK_THROWS_AS(cudaMemsetAsync(host.data(), 0, kBytes), Failure);
  CHECK_THROWS_AS(cudaMemcpyAsync(memory.data, memory.data + 1, kBytes, cudaMemcpyDeviceToDevice), Failure);
}

TEST_CASE("runtime: memory starts as 0xff, and is that again once freed in the stream's order") {
  const Queue queue;
  void* memory = nullptr;
  REQUIRE(cudaMallocAsync(&memory, kBytes, queue.handle) == cudaSuccess);
  int value = 0;
  CHECK(cudaMemcpyAsync(&value, memory, 4, cudaMemcpyDeviceToHost, queue.handle) == cudaSuccess);
  CHECK(value == -1);
  CHECK(cudaFreeAsync(memory, queue.handle) == cudaSuccess);
  CHECK_THROWS_AS(cudaMemcpyAsync(&value, memory, 4, cudaMemcpyDeviceToHost, queue.handle), Failure);
}

TEST_CASE("runtime: events tell when their stream came to them") {
  const Restore restore;
  emulator::settings().defer = true;
  const Memory memory;
  const Queue queue;
  cudaEvent_t start = nullptr, end = nullptr;
  REQUIRE(cudaEventCreate(&start) == cudaSuccess);
  REQUIRE(cudaEventCreate(&end) == cudaSuccess);
  CHECK(cudaEventQuery(start) == cudaSuccess);  // never recorded
  REQUIRE(cudaEventRecord(start, queue.handle) == cudaSuccess);
  add(memory, 1, queue.handle);
  REQUIRE(cudaEventRecord(end, queue.handle) == cudaSuccess);
  CHECK(cudaEventQuery(end) == cudaErrorNotReady);
  CHECK(cudaEventSynchronize(end) == cudaSuccess);
  float ms = -1;
  CHECK(cudaEventElapsedTime(&ms, start, end) == cudaSuccess);
  CHECK(ms >= 0);
  CHECK(cudaEventDestroy(start) == cudaSuccess);
  CHECK(cudaEventDestroy(end) == cudaSuccess);
  CHECK(cudaEventDestroy(end) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

TEST_CASE("runtime: without a device the backend says so") {
  const Restore restore;
  emulator::device_model().count = 0;
  int count = -1;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  cudaGetLastError();
}
