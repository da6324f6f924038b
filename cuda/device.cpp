#include "cuda/device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "cuda/error.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

constexpr int kOldestMajor = 8;  // the kernels are compiled for 8.0 and newer

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

/// Why cudaGetDeviceCount answered `status`.
std::string explain(cudaError_t status) {
  int driver = 0, runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = CUDART_VERSION;
  cudaGetLastError();
  if (driver == 0) return "no CUDA driver is installed";
  if (status == cudaErrorInsufficientDriver) {
    return fmt::format("the CUDA driver is too old: it supports CUDA {}, this build needs {}",
                       version_text(driver), version_text(runtime));
  }
  if (status == cudaErrorNoDevice) return "a CUDA driver is installed but no device answers";
  return fmt::format("the CUDA driver does not work: {}", cudaGetErrorString(status));
}

}  // namespace

std::string why_unavailable() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return explain(status);
  if (count == 0) return explain(cudaErrorNoDevice);
  for (int index = 0; index < count; ++index) {
    int major = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index) != cudaSuccess) continue;
    if (major >= kOldestMajor) return "";
  }
  cudaGetLastError();
  return fmt::format("none of the {} CUDA devices has compute capability {}.0 or newer", count, kOldestMajor);
}

DeviceInfo device_info(int index) {
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess)
    throw DeviceError(explain(status));
  if (index < 0 || index >= count) {
    throw DeviceError(
        fmt::format("there is no device cuda:{}; this machine has {}, counted from 0", index, count));
  }
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), fmt::format("ask cuda:{} for its properties", index));
  if (properties.major < kOldestMajor) {
    throw DeviceError(fmt::format("cuda:{} ({}) has compute capability {}.{}; {}.0 or newer is needed", index,
                                  properties.name, properties.major, properties.minor, kOldestMajor));
  }
  return {.index = index,
          .name = properties.name,
          .major = properties.major,
          .minor = properties.minor,
          .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem),
          .multiprocessors = properties.multiProcessorCount};
}

CurrentDevice::CurrentDevice(int index) {
  check(cudaGetDevice(&before_), "ask for the current CUDA device");
  if (before_ != index) check(cudaSetDevice(index), fmt::format("select cuda:{}", index));
}

CurrentDevice::~CurrentDevice() {
  if (cudaSetDevice(before_) != cudaSuccess) cudaGetLastError();
}

}  // namespace branchsae::cuda
