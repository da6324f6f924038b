#pragma once
/// Our own Winograd convolutions: a block of tiles goes through all three steps while it is in a core's own
/// cache, and results are written straight into dst, which may be a slice of a concat.
#include <optional>

#include "cpu/network/layer.h"
#include "cpu/network/winograd_points.h"
#include "engine/graph.h"
#include "engine/network.h"

namespace branchsae::cpu {

/// The form that this convolution would be computed by; none when it is not ours. A fixed rule of shapes, so
/// that results do not depend on the machine's mood.
std::optional<WinogradForm> winograd_form(const ConvOp& op, const Layout& src, const Layout& dst,
                                          ConvAlgorithm algorithm);

/// Throws MemoryError.
LayerPtr make_winograd(const ConvOp& op, WinogradForm form, const Slot& src, const Slot& dst, int threads);

}  // namespace branchsae::cpu
