#pragma once
/// What the emulator reports: a mistake in a kernel, or in how the runtime is used. Never a DeviceError, so
/// that no code takes it for a fault of the device and goes on.
#include <source_location>
#include <stdexcept>
#include <string>

namespace branchsae::emulator {

class Failure : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Where in a kernel something happens.
using Place = std::source_location;

/// "cuda/kernels/a.cuh:83"
std::string text(const Place& place);

}  // namespace branchsae::emulator
