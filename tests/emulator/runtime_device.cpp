/// Errors, versions, devices and launches of the emulated runtime.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <utility>

#include "tests/emulator/machine.h"
#include "tests/emulator/runtime_state.h"

namespace branchsae::emulator {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;
cudaError_t sticky = cudaSuccess;
struct PlannedFault {
  int countdown = 0;
  cudaError_t error = cudaSuccess;
  bool later = false;
} planned_fault;
std::map<const void*, int> dynamic_smem_limits;  // set by cudaFuncSetAttribute

using Lock = std::lock_guard<std::recursive_mutex>;

bool device_exists(int device) {
  return device >= 0 && device < device_model().count;
}

/// A Failure out of a call that must not throw.
struct KeptFailure {
  std::exception_ptr failure;
  ~KeptFailure() {
    if (failure == nullptr) return;
    std::fputs("emulator: a failure was never reported; see above\n", stderr);
    std::_Exit(1);
  }
} kept;

}  // namespace

void run_quietly(const std::function<void()>& run) {
  try {
    run();
  } catch (const Failure& failure) {
    std::fprintf(stderr, "emulator: %s\n", failure.what());
    if (kept.failure == nullptr) kept.failure = std::current_exception();
  }
}

void throw_kept_failure() {
  if (kept.failure != nullptr) std::rethrow_exception(std::exchange(kept.failure, nullptr));
}

std::recursive_mutex& runtime_lock() {
  static std::recursive_mutex lock;
  return lock;
}

DeviceModel& device_model() {
  static DeviceModel model;
  return model;
}

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

cudaError_t sticky_error() {
  return sticky;
}
void set_sticky_error(cudaError_t error) {
  sticky = error;
}

void fail_launch(int n, cudaError_t error, bool later) {
  const Lock lock(runtime_lock());
  planned_fault = {n, error, later};
}

void reset_device() {
  const Lock lock(runtime_lock());
  drop_all_work();
  kept.failure = nullptr;
  sticky = last_error = cudaSuccess;
  planned_fault = {};
  fail_allocation(0);
}

cudaError_t enqueue(KernelLaunch launch, cudaStream_t handle) {
  const Lock lock(runtime_lock());
  if (sticky != cudaSuccess) return report(sticky);
  CUstream_st* stream = resolve(handle);
  if (!exists(stream)) return report(cudaErrorInvalidResourceHandle);
  if (launch.blocks < 1 || launch.blocks > std::numeric_limits<int32_t>::max() || launch.threads < 1 ||
      launch.threads > kMaxThreads) {
    return report(cudaErrorInvalidConfiguration);
  }
  if (launch.smem_bytes < 0 || launch.smem_bytes > device_model().smem_per_block_optin)
    return report(cudaErrorInvalidValue);
  bool broken = false;
  if (planned_fault.countdown > 0 && --planned_fault.countdown == 0) {
    if (!planned_fault.later) return report(planned_fault.error);
    broken = true;
  }
  const cudaError_t error = planned_fault.error;
  auto shared = std::make_shared<KernelLaunch>(std::move(launch));
  return report(enqueue_work(stream, [shared, broken, error] {
    if (broken) {
      set_sticky_error(error);
      return;
    }
    run_grid({.name = shared->name,
              .blocks = dim3(static_cast<unsigned>(shared->blocks)),
              .threads = dim3(static_cast<unsigned>(shared->threads)),
              .smem_bytes = shared->smem_bytes,
              .body = shared->body,
              .arguments = shared->arguments.get()});
    try {
      check_guards();
    } catch (const Failure& failure) {
      throw Failure(fmt::format("{}: {}", shared->name, failure.what()));
    }
  }));
}

}  // namespace branchsae::emulator

using namespace branchsae::emulator;

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = sticky;
  return error;
}
cudaError_t cudaPeekAtLastError() {
  return last_error;
}

#define BRANCHSAE_ERRORS(X)                                                                              \
  X(cudaSuccess, "no error")                                                                             \
  X(cudaErrorInvalidValue, "invalid argument")                                                           \
  X(cudaErrorMemoryAllocation, "out of memory")                                                          \
  X(cudaErrorInitializationError, "initialization error")                                                \
  X(cudaErrorInvalidConfiguration, "invalid configuration argument")                                     \
  X(cudaErrorInvalidHostPointer, "invalid host pointer")                                                 \
  X(cudaErrorInvalidDevicePointer, "invalid device pointer")                                             \
  X(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy")                                \
  X(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version")         \
  X(cudaErrorInvalidDeviceFunction, "invalid device function")                                           \
  X(cudaErrorNoDevice, "no CUDA-capable device is detected")                                             \
  X(cudaErrorInvalidDevice, "invalid device ordinal")                                                    \
  X(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device")         \
  X(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered")                                    \
  X(cudaErrorInvalidResourceHandle, "invalid resource handle")                                           \
  X(cudaErrorSymbolNotFound, "named symbol not found")                                                   \
  X(cudaErrorNotReady, "device not ready")                                                               \
  X(cudaErrorIllegalAddress, "an illegal memory access was encountered")                                 \
  X(cudaErrorLaunchOutOfResources, "too many resources requested for launch")                            \
  X(cudaErrorLaunchTimeout, "the launch timed out and was terminated")                                   \
  X(cudaErrorHostMemoryAlreadyRegistered, "part or all of the requested memory range is already mapped") \
  X(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region")       \
  X(cudaErrorMisalignedAddress, "misaligned address")                                                    \
  X(cudaErrorLaunchFailure, "unspecified launch failure")                                                \
  X(cudaErrorNotSupported, "operation not supported")                                                    \
  X(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")               \
  X(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture")        \
  X(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences")      \
  X(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began")             \
  X(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work")                                \
  X(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream")          \
  X(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream")   \
  X(cudaErrorUnknown, "unknown error")

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define BRANCHSAE_NAME(code, message) \
  case code:                          \
    return #code;
    BRANCHSAE_ERRORS(BRANCHSAE_NAME)
  }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
#define BRANCHSAE_MESSAGE(code, message) \
  case code:                             \
    return message;
    BRANCHSAE_ERRORS(BRANCHSAE_MESSAGE)
  }
  return "unrecognized error code";
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = device_model().count == 0 ? 0 : CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_model().count;
  return report(*count == 0 ? cudaErrorNoDevice : sticky_error());
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (!device_exists(device)) return report(cudaErrorInvalidDevice);
  current_device = device;
  return report(sticky_error());
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (!device_exists(device)) return report(cudaErrorInvalidDevice);
  const DeviceModel& model = device_model();
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = kMaxThreads;
      break;
    case cudaDevAttrMaxGridDimX:
      *value = std::numeric_limits<int32_t>::max();
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(model.smem_per_block);
      break;
    case cudaDevAttrWarpSize:
      *value = kLanes;
      break;
    case cudaDevAttrMaxRegistersPerBlock:
      *value = 65536;
      break;
    case cudaDevAttrClockRate:
      *value = 1'000'000;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = model.multiprocessors;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = 1'000'000;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = 1024;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 8 << 20;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = 2048;
      break;
    case cudaDevAttrAsyncEngineCount:
      *value = 2;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = model.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = model.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(model.smem_per_block_optin + 1024);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(model.smem_per_block_optin);
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    case cudaDevAttrClusterLaunch:
      *value = model.major >= 9 ? 1 : 0;
      break;
    default:
      return report(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!device_exists(device)) return report(cudaErrorInvalidDevice);
  const DeviceModel& model = device_model();
  *properties = {};
  fmt::format_to_n(properties->name, sizeof properties->name - 1, "SIMT emulator");
  properties->totalGlobalMem = static_cast<size_t>(model.memory_bytes);
  properties->sharedMemPerBlock = static_cast<size_t>(model.smem_per_block);
  properties->sharedMemPerBlockOptin = static_cast<size_t>(model.smem_per_block_optin);
  properties->sharedMemPerMultiprocessor = static_cast<size_t>(model.smem_per_block_optin + 1024);
  properties->regsPerBlock = 65536;
  properties->warpSize = kLanes;
  properties->maxThreadsPerBlock = kMaxThreads;
  properties->maxThreadsDim[0] = kMaxThreads;
  properties->maxGridSize[0] = std::numeric_limits<int32_t>::max();
  properties->major = model.major;
  properties->minor = model.minor;
  properties->multiProcessorCount = model.multiprocessors;
  properties->asyncEngineCount = 2;
  properties->memoryBusWidth = 1024;
  properties->l2CacheSize = 8 << 20;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->memoryPoolsSupported = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const Lock lock(runtime_lock());
  throw_kept_failure();
  if (capture_forbids()) return report(cudaErrorStreamCaptureUnsupported);
  run_all_streams();
  return report(sticky_error());
}

cudaError_t cudaDeviceReset() {
  reset_device();
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  const Lock lock(runtime_lock());
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value < 0 || value > device_model().smem_per_block_optin) return report(cudaErrorInvalidValue);
    dynamic_smem_limits[function] = value;
  }
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  const Lock lock(runtime_lock());
  const auto limit = dynamic_smem_limits.find(function);
  *attributes = {};
  attributes->maxThreadsPerBlock = kMaxThreads;
  attributes->maxDynamicSharedSizeBytes =
      limit == dynamic_smem_limits.end() ? static_cast<int>(device_model().smem_per_block) : limit->second;
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int block_size,
                                                          size_t smem_bytes) {
  if (block_size < 1) return report(cudaErrorInvalidValue);
  const auto by_smem = (device_model().smem_per_block_optin + 1024) / static_cast<int64_t>(smem_bytes + 1024);
  *blocks = static_cast<int>(std::min<int64_t>(2048 / block_size, by_smem));
  return cudaSuccess;
}
