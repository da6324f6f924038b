#pragma once
/// Which CUDA devices there are and whether they can be used.
#include <cstdint>
#include <string>

namespace branchsae::cuda {

/// Empty when at least one device can be used; else why not, as one line: no driver, driver too old, no
/// device, device too old. Never throws.
std::string why_unavailable();

/// What there is to know about device `index`. Throws DeviceError naming how many devices there are.
struct DeviceInfo {
  int index = 0;
  std::string name;  ///< the maker's
  int major = 0, minor = 0;
  int64_t memory_bytes = 0;
  int multiprocessors = 0;
};
DeviceInfo device_info(int index);

/// Makes a device the calling thread's current one, and puts the old one back at the end.
class CurrentDevice {
 public:
  explicit CurrentDevice(int index);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_ = 0;
};

}  // namespace branchsae::cuda
