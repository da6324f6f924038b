#pragma once
/// Weights in the order that a primitive asked for.
#include "cpu/network/onednn.h"
#include "engine/device_buffer.h"
#include "engine/host_tensor.h"

namespace branchsae::cpu {

class PackedWeights {
 public:
  /// Reorders row-major `values` to `wanted`. groups > 1: the outermost dimension is split into [groups,
  /// O/groups].
  PackedWeights(OnednnContext& context, const HostTensor& values, const dnnl::memory::desc& wanted,
                int64_t groups = 1);
  const dnnl::memory& memory() const { return memory_; }
  int64_t size_bytes() const { return owner_.size_bytes(); }

 private:
  DeviceMemory owner_;  // a dnnl::memory on a given pointer does not own it
  dnnl::memory memory_;
};

/// `values` followed by zeros.
HostTensor padded_vector(const HostTensor& values, int64_t size);

}  // namespace branchsae::cpu
