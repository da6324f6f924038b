#pragma once
/// The emulated CUDA runtime, as tests see it. Memory is the host's, in allocations with guard zones whose
/// bytes are 0xff to begin with. Stricter than a GPU's: a copy must lie within one allocation and match its
/// direction, a write outside of an allocation is reported after the kernel that did it. What breaks a rule
/// throws Failure out of the call that ran it.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>

#include "tests/emulator/settings.h"

namespace branchsae::emulator {

/// What cuda/launch.h hands over.
struct KernelLaunch {
  std::string name;
  int64_t blocks = 1;
  int threads = 1;
  int64_t smem_bytes = 0;
  void (*body)(const void* arguments) = nullptr;
  std::shared_ptr<const void> arguments;
};
cudaError_t enqueue(KernelLaunch launch, cudaStream_t stream);

/// The devices there are.
struct DeviceModel {
  int count = 1;
  int major = 9, minor = 0;
  int multiprocessors = 4;
  int64_t memory_bytes = int64_t{2} << 30;
  int64_t smem_per_block = 48 << 10, smem_per_block_optin = 227 << 10;
};
DeviceModel& device_model();

/// The n-th allocation from now on (1: the next) fails once for want of memory; 0: none does.
void fail_allocation(int n);
/// The n-th kernel launch from now on fails: at the launch itself with `error`; or, when `later`, the launch
/// succeeds, the kernel does not run, and from the next synchronisation on every call returns `error`, until
/// reset_device().
void fail_launch(int n, cudaError_t error = cudaErrorLaunchOutOfResources, bool later = false);
/// Drops what streams have not run, forgets errors and pending faults. Memory stays.
void reset_device();

/// Bytes allocated on the device (pinned memory not counted) and the most there ever were since
/// reset_counters().
int64_t device_bytes();
int64_t peak_device_bytes();
/// Allocations not freed yet, pinned ones included.
int64_t live_allocations();
void reset_counters();

/// Throws Failure when bytes around an allocation were written.
void check_guards();

}  // namespace branchsae::emulator
