#pragma once
/// One step of the compiled network. A layer is made with the places of its operands, later told their
/// addresses (bind), then only run. Where several threads compute different images, each has a copy of every
/// layer with addresses of its own; weights are shared.
#include <memory>
#include <string>

#include "cpu/network/layout.h"
#include "engine/memory_plan.h"

namespace branchsae::cpu {

/// Where a value will be: a part of one of the plan's buffers.
struct Slot {
  Layout layout;
  int buffer = -1;
  int64_t offset = 0;        ///< elements from the buffer's start
  int64_t image_stride = 0;  ///< elements

  bool dense() const { return layout.n == 1 || image_stride == layout.image_size(); }
  int64_t size_bytes() const { return layout.n * layout.image_size() * static_cast<int64_t>(sizeof(float)); }
};

/// Addresses, known once memory is allocated.
struct Addresses {
  std::byte* arena = nullptr;
  std::byte* scratch = nullptr;  ///< for use within one layer's run
  const MemoryPlan* plan = nullptr;

  Blob at(const Slot& slot) const {
    auto* base = reinterpret_cast<float*>(arena + plan->offset(slot.buffer));
    return {base + slot.offset, slot.layout, slot.image_stride};
  }
};

/// The part of the batch that is being computed, in one go.
struct Chunk {
  int64_t first = 0;  ///< its first image's place in the batch
  int64_t count = 0;  ///< real images; the others up to the compiled size are zero and dropped
};

/// What LayerTime reports.
struct LayerInfo {
  std::string node, op;
  std::string implementation = "own";  ///< or oneDNN's name of what it chose
  int64_t flops = 0;  ///< of one chunk; multiply and add counted apart, padding channels not counted
  int64_t bytes = 0;  ///< of one chunk; operands, result and weights, each once
};

class Layer {
 public:
  virtual ~Layer() = default;
  /// Before bind.
  virtual std::unique_ptr<Layer> clone() const = 0;
  /// Called once. Allocations belong here.
  virtual void bind(const Addresses& addresses) = 0;
  virtual void run(const Chunk& chunk) = 0;
  /// Of all threads that run the layer together; parts are told apart by worker_index().
  virtual int64_t scratch_bytes() const { return 0; }
  virtual int64_t weight_bytes() const { return 0; }

  LayerInfo info;

 protected:
  Layer() = default;
  Layer(const Layer&) = default;
};

using LayerPtr = std::unique_ptr<Layer>;

/// A layer on src and dst whose work is a function of the two addresses.
class UnaryLayer : public Layer {
 public:
  UnaryLayer(const Slot& src, const Slot& dst) : src_slot_(src), dst_slot_(dst) {
    info.bytes = src.size_bytes() + dst.size_bytes();
  }
  void bind(const Addresses& addresses) override {
    src_ = addresses.at(src_slot_);
    dst_ = addresses.at(dst_slot_);
    scratch_ = reinterpret_cast<float*>(addresses.scratch);
  }

 protected:
  Slot src_slot_, dst_slot_;
  Blob src_, dst_;
  float* scratch_ = nullptr;
};

}  // namespace branchsae::cpu
