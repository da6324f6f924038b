#pragma once
/// Layers that only move activations.
#include <vector>

#include "cuda/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cuda {

/// dst[n][y][x] = src[n][y - top][x - left], else `value`. Enqueues. Throws DeviceError on launch.
void copy_image(cudaStream_t stream, const Activation& src, const Activation& dst, int64_t top = 0,
                int64_t left = 0, float value = 0.0F);

/// One input of a concatenation; those in place are named too.
struct ConcatInput {
  Slot src;
  bool in_place = false;
};
LayerPtr make_concat(std::vector<ConcatInput> inputs, const Slot& dst);

LayerPtr make_pad(const PadOp& op, const Slot& src, const Slot& dst);

/// [N, C, H, W] -> [N, C*H*W] float32 in NCHW order.
LayerPtr make_flatten(const Slot& src, const Slot& dst);

/// Channels [begin, end) of src to columns [column, ...) of float rows of `width` numbers.
struct TapCopy {
  Slot src;
  int64_t begin = 0, end = 0;
  int64_t dst_offset = 0;  ///< bytes into the taps' memory, of the tap's first row
  int64_t width = 0, column = 0;
};
/// All of them in one launch, which reads tables in `weights` (so it is made before those are uploaded). Its
/// taps' memory is given by set_memory() before bind().
class GatherTaps : public Layer {
 public:
  GatherTaps(std::vector<TapCopy> copies, WeightStore& weights);
  void set_memory(std::byte* taps) { taps_ = taps; }
  void bind(const Addresses& addresses) override;
  void enqueue(cudaStream_t stream) override;
  /// The table as it must lie on the device, and where; written there after bind().
  const std::vector<std::byte>& table() const { return table_; }
  std::byte* table_address() const { return table_address_; }

 private:
  std::vector<TapCopy> copies_;
  std::byte* taps_ = nullptr;
  std::vector<std::byte> table_;
  std::byte* table_address_ = nullptr;
  int64_t table_offset_ = 0, items_offset_ = 0, blocks_ = 0;
  const void* items_ = nullptr;
};

}  // namespace branchsae::cuda
