#pragma once
/// Seeded random graphs over every op: what passes and backends are tried on.
#include "engine/graph.h"

namespace branchsae::reference {

/// A valid graph that takes [N, channels, height, width] images: stems, convolutions (groups, dilation,
/// padding of all kinds), pools, inception-like blocks, batch normalisation, paddings, and a head of linear
/// layers. Its outputs are the last value and some inner ones; every op of engine/graph.h turns up over a few
/// dozen seeds.
Graph random_graph(uint64_t seed, int64_t channels, int64_t height, int64_t width);

}  // namespace branchsae::reference
