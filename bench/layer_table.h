#pragma once
/// What each layer of a network costs, beside what the processor or GPU could do.
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "engine/network.h"

namespace branchsae::bench {

/// Lines of aligned columns, one a layer, then their sum: ms, share of the sum, GFLOP, GFLOP/s and how many
/// percent of `peak_gflops` that is, and for layers that only move numbers MB (read, written and weights) and
/// GB/s. What is unknown or 0 stays empty.
std::string layer_table(std::span<const LayerTime> layers, double peak_gflops);

/// The same as objects: node, op, implementation, ms, share, flops, bytes.
nlohmann::json layers_json(std::span<const LayerTime> layers);

}  // namespace branchsae::bench
