#pragma once
/// Host memory of the CPU backend.
#include <cstdint>
#include <string_view>

#include "engine/device_buffer.h"

namespace branchsae::cpu {

/// 64-byte aligned; from 2 MiB on aligned to and advised for huge pages, which the weight panels need: they
/// are read in strides that small pages turn into TLB misses. Contents are undefined. Throws DeviceError
/// naming `what` and the sizes when there is not that much memory.
DeviceMemory allocate_host(int64_t size_bytes, std::string_view what);

/// Throws as allocate_host would when the machine could never hold this much; allocates nothing.
void check_fits_in_memory(int64_t size_bytes, std::string_view what);

}  // namespace branchsae::cpu
