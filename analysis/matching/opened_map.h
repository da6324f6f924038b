#pragma once
/// The network between two taps as one matrix, its non-linearities opened.
#include "engine/graph.h"
#include "engine/host_tensor.h"
#include "engine/taps.h"

namespace branchsae {

/// M [channels of b, channels of a]: how much each channel of b grows, away from the border, when a channel
/// of a grows by 1 at every position: the sum over offsets of the weights along every path from a to b, with
/// every ReLU and clip open and every maximum taken as a mean. Biases do not count. Stretches from one part
/// of a to another do not either: what a joined tap says, it says at its last part. Source: Voss et al. 2021,
/// Visualizing Weights, doi:10.23915/distill.00024.007 ("expanded weights").
/// Throws InputError where a does not lie before b, and where an op between them (LRN, softmax, a product)
/// has no such matrix; it names the node.
HostTensor opened_map(const Graph& graph, const Tap& a, const Tap& b);

}  // namespace branchsae
