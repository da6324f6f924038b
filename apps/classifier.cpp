#include "apps/classifier.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <variant>

#include "engine/error.h"

namespace branchsae::apps {
namespace {

/// Channels of [N, C] or [N, C, 1, 1]; 0 for any other shape.
int64_t class_count(const Shape& shape) {
  const bool flat = shape.size() == 2 || (shape.size() == 4 && shape[2] == 1 && shape[3] == 1);
  return flat && shape[1] > 1 ? shape[1] : 0;
}

}  // namespace

ClassOutput find_class_output(const Graph& graph) {
  ClassOutput found;
  int latest = -1;
  for (const ValueId output : graph.outputs) {
    const int node = graph.producer(output);
    const int64_t classes = class_count(graph.value(output).shape);
    if (classes == 0 || node <= latest) continue;
    latest = node;
    const Op& op = graph.nodes[static_cast<size_t>(node)].op;
    found = {graph.value(output).name, classes, std::holds_alternative<SoftmaxOp>(op)};
  }
  if (latest < 0) {
    throw InputError("no output of " + graph.source +
                     " is one number a class ([N, classes]); it classifies nothing");
  }
  return found;
}

std::vector<double> softmax(std::span<const float> logits) {
  double most = -std::numeric_limits<double>::infinity();
  for (const float x : logits) most = std::max(most, static_cast<double>(x));
  std::vector<double> shares;
  shares.reserve(logits.size());
  double sum = 0;
  for (const float x : logits) sum += shares.emplace_back(std::exp(static_cast<double>(x) - most));
  for (double& share : shares) share /= sum;
  return shares;
}

std::vector<int64_t> largest(std::span<const double> values, int64_t k) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto rank = [&](int64_t i) {
    const double value = values[static_cast<size_t>(i)];
    return std::isnan(value) ? -std::numeric_limits<double>::infinity() : value;
  };
  const auto count = std::min(static_cast<size_t>(k), order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(),
                    [&](int64_t a, int64_t b) { return rank(a) != rank(b) ? rank(a) > rank(b) : a < b; });
  order.resize(count);
  return order;
}

}  // namespace branchsae::apps
