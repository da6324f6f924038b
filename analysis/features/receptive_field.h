#pragma once
/// How much of the image one position of a tap can depend on.
#include <array>

#include "engine/graph.h"
#include "engine/taps.h"

namespace branchsae {

/// Height and width in pixels: going back from the tap, a window of kernel k and dilation d on values that
/// lie s pixels apart adds s d (k - 1); the widest path counts. Padding is not taken off: at the border less
/// of it is image. Throws InputError for a tap behind a layer that sees all positions (global average,
/// linear).
std::array<int64_t, 2> receptive_field(const Graph& graph, const Tap& tap);

}  // namespace branchsae
