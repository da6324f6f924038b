#pragma once
/// The invariants that loaders establish, passes keep and backends rely on.
#include "engine/graph.h"

namespace branchsae {

/// Checks that
///   every ValueId is a value of the graph (inputs, outputs, blocks: kNoValue only where graph.h allows it),
///   every value has at most one writer, the network's input none,
///   a node comes after the writers of what it reads, and reads as many values as its op takes,
///   weights are there and agree with each other (conv and linear rank and bias, affine scale and shift),
///   windows, paddings and LRN sizes are in range.
/// Says nothing about shapes: infer_shapes does. Throws InputError naming the node.
void validate(const Graph& graph);

}  // namespace branchsae
