#pragma once
/// Layers that only move activations.
#include <vector>

#include "cpu/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cpu {

/// Copies `src`'s channels to dst's channels [first_channel, first_channel + src.c); blocks may differ.
/// Extents N, H, W must agree. Channels beyond dst.c are left alone.
void copy_channels(const Blob& src, const Blob& dst, int64_t first_channel);

/// Same values in another block size.
LayerPtr make_reblock(const Slot& src, const Slot& dst);

/// One input of a concatenation and where its channels begin in the result.
struct ConcatPart {
  Slot src;
  int64_t first_channel = 0;
};
/// Copies the given parts; those already written in place are not listed.
LayerPtr make_concat(std::vector<ConcatPart> parts, const Slot& dst);

/// [N, C, H, W] -> [N, C*H*W] in NCHW order.
LayerPtr make_flatten(const Slot& src, const Slot& dst);

LayerPtr make_pad(const PadOp& op, const Slot& src, const Slot& dst);

/// Channels [begin, end) of src to columns [column, column + end - begin) of token rows of `width` floats.
/// `tokens` is [max_batch * H * W, width]; only the chunk's real images are written, at their place in the
/// batch.
LayerPtr make_capture(const Slot& src, int64_t begin, int64_t end, float* tokens, int64_t width,
                      int64_t column);

}  // namespace branchsae::cpu
