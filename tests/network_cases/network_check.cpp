#include "tests/network_cases/network_check.h"

#include <algorithm>

namespace branchsae::test {

Tap whole_tap(const Graph& graph, ValueId value) {
  return {.name = graph.value(value).name,
          .parts = {{.value = value, .begin = 0, .end = graph.value(value).shape.at(1)}}};
}

std::vector<Tap> whole_taps(const Graph& graph, const std::vector<ValueId>& values) {
  std::vector<Tap> taps;
  for (const ValueId value : values) taps.push_back(whole_tap(graph, value));
  return taps;
}

double worst_error(const Graph& graph, const std::vector<ValueId>& values, const reference::Array& images,
                   const std::function<reference::Array(size_t)>& tap_rows) {
  // The reference computes with the same float inputs.
  reference::Array rounded = images;
  for (double& number : rounded.data) number = static_cast<float>(number);
  const std::vector<reference::Array> expected = reference::run_network(graph, rounded);
  double worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const reference::Array want = reference::tokens(expected.at(static_cast<size_t>(values[i])));
    worst = std::max(worst, reference::relative_error(tap_rows(i), want));
  }
  return worst;
}

}  // namespace branchsae::test
