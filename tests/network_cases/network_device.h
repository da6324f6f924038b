#pragma once
/// What the shared cases of networks run on. A test program that links them defines these functions.
#include <functional>
#include <string>
#include <vector>

#include "tests/reference/network.h"

namespace branchsae::test {

/// One of a backend's ways to compute the same network, and how far from exact it may be. Errors are norms:
/// |got - want| / |want|.
struct NetworkWay {
  std::string name;
  /// What rounding operands and results adds in a few layers whose numbers are shorter than float32.
  double short_numbers = 0;
  /// What the algorithm of 3x3 convolutions adds where it is not the plain sum of products.
  double three_by_three = 0;
  /// Largest error of any of these values.
  std::function<double(const Graph& graph, const std::vector<ValueId>& values,
                       const reference::Array& images)>
      worst_error;
};

/// Float32, as the backend runs it when nothing is said: of every case.
const NetworkWay& usual_way();
/// Precisions and algorithms: for the ops that have their own code for them.
const std::vector<NetworkWay>& arithmetic_ways();
/// Each way to store joined values, in every precision.
const std::vector<NetworkWay>& concat_ways();

}  // namespace branchsae::test
