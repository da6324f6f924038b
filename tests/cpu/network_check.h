#pragma once
/// Runs graphs on the CPU backend beside the double-precision reference.
#include <span>
#include <string>
#include <vector>

#include "engine/network.h"
#include "tests/network_cases/network_check.h"
#include "tests/reference/network.h"

namespace branchsae::test {

struct Setting {
  int64_t max_batch = 0;  ///< 0: as many as there are images
  int threads = 2;
  ConvAlgorithm conv = ConvAlgorithm::kAuto;
};

/// Compiled for the images' size with these taps.
std::unique_ptr<NetworkExecutor> compile_cpu(const Graph& graph, std::vector<Tap> taps, const Shape& images,
                                             const Setting& setting = {});

/// [N, C, H, W] numbers as the [N, H, W, C] floats that run() takes. `values` must outlive the view's use.
struct Nhwc {
  std::vector<float> values;
  View<const float, 4> view;
  explicit Nhwc(const reference::Array& images);
};

/// A tap's rows after a run.
std::vector<float> tokens_of(const NetworkExecutor& network, size_t tap);

/// Largest relative error (norm of difference over norm) of any of these values; +Inf when shapes differ.
double worst_error(const Graph& graph, const std::vector<ValueId>& values, const reference::Array& images,
                   const Setting& setting = {});

}  // namespace branchsae::test
