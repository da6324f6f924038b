#pragma once
/// One step of the compiled network. A layer is made with the places of its operands, later told their
/// addresses (bind), then only enqueued.
#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "cuda/network/layout.h"
#include "cuda/network/weights.h"
#include "engine/memory_plan.h"

namespace branchsae::cuda {

/// Addresses, known once memory is allocated.
struct Addresses {
  std::byte* arena = nullptr;
  std::byte* scratch = nullptr;  ///< for use within one layer; 256-byte aligned
  std::byte* weights = nullptr;
  const MemoryPlan* plan = nullptr;

  Activation at(const Slot& slot) const {
    std::byte* base = arena + plan->offset(slot.buffer);
    return {base + slot.offset * element_bytes(slot.layout.element), slot.layout, slot.pixel_stride};
  }
  template <class T = void>
  const T* weight(int64_t offset) const {
    return reinterpret_cast<const T*>(weights + offset);
  }
};

/// What LayerTime reports.
struct LayerInfo {
  std::string node, op;
  std::string shapes;  ///< "Conv [8, 64, 56, 56] -> [8, 192, 56, 56]", for errors
  std::string implementation = "own";
  int64_t flops = 0;  ///< of a whole batch; multiply and add counted apart, padding channels not counted
};

class Layer {
 public:
  virtual ~Layer() = default;
  /// Before the first enqueue(), and again when addresses change.
  virtual void bind(const Addresses& addresses) = 0;
  virtual void enqueue(cudaStream_t stream) = 0;
  virtual int64_t scratch_bytes() const { return 0; }

  LayerInfo info;
};

using LayerPtr = std::unique_ptr<Layer>;

/// A layer on src and dst.
class UnaryLayer : public Layer {
 public:
  UnaryLayer(const Slot& src, const Slot& dst) : src_slot_(src), dst_slot_(dst) {}
  void bind(const Addresses& addresses) override {
    src_ = addresses.at(src_slot_);
    dst_ = addresses.at(dst_slot_);
  }

 protected:
  Slot src_slot_, dst_slot_;
  Activation src_, dst_;
};

}  // namespace branchsae::cuda
