#pragma once
/// From class scores to guesses.
#include <cstdint>
#include <span>
#include <vector>

namespace branchsae::apps {

/// In double, stable: exp(x - max) / sum. Source: the softmax definition, ONNX operator Softmax.
std::vector<double> softmax(std::span<const float> logits);

/// Indices of the k largest, largest first; equal ones by lower index, NaN last.
std::vector<int64_t> largest(std::span<const double> values, int64_t k);

}  // namespace branchsae::apps
