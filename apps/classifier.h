#pragma once
/// What a network says an image shows.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/graph.h"

namespace branchsae::apps {

struct ClassOutput {
  std::string value;  ///< the graph output's name
  int64_t classes = 0;
  bool probabilities = false;  ///< it is a softmax already
};

/// The graph's last output of one number a class ([N, C] or [N, C, 1, 1]); auxiliary heads come earlier.
/// Throws InputError when there is none.
ClassOutput find_class_output(const Graph& graph);

/// In double, stable: exp(x - max) / sum. Source: the softmax definition, ONNX operator Softmax.
std::vector<double> softmax(std::span<const float> logits);

/// Indices of the k largest, largest first; equal ones by lower index, NaN last.
std::vector<int64_t> largest(std::span<const double> values, int64_t k);

}  // namespace branchsae::apps
