#pragma once
/// Memory of a CUDA device. Contents start undefined; alignment is at least 256 bytes.
#include <cstdint>
#include <optional>
#include <string_view>

#include "cuda/stream.h"
#include "engine/device_buffer.h"

namespace branchsae::cuda {

/// Usable on every stream of the device at once. Freeing waits until the device is idle, so no kernel can
/// still be using the memory: for what lives as long as a network or an autoencoder. Throws DeviceError
/// naming `what`, the size and how much is free.
DeviceMemory allocate(int device, int64_t size_bytes, std::string_view what);

/// Memory of the host that the device copies from and to while the host goes on. Throws as allocate().
DeviceMemory allocate_pinned(int device, int64_t size_bytes, std::string_view what);

/// The bytes are on the device, for every stream, when it returns. (cudaMemcpy from pageable memory may
/// return before.) Of the current device; doing  as for check().
void upload_sync(void* dst, const void* src, int64_t size_bytes, std::string_view doing);

/// Bytes of device memory that nobody uses now; unset when the driver does not say.
std::optional<int64_t> memory_free(int device);

/// Usable on `stream`, after what is enqueued there now; freed in that stream's order, without waiting. The
/// stream must outlive the memory. Work on another stream must be ordered by the caller. Throws as
/// allocate().
DeviceMemory allocate_in_order(const CudaStream& stream, int64_t size_bytes, std::string_view what);

}  // namespace branchsae::cuda
