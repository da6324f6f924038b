#include "tests/cpu/network_check.h"

#include <algorithm>

#include "cpu/cpu_backend.h"
#include "engine/passes.h"

namespace branchsae::test {

Tap whole_tap(const Graph& graph, ValueId value) {
  return {.name = graph.value(value).name,
          .parts = {{.value = value, .begin = 0, .end = graph.value(value).shape.at(1)}}};
}

std::unique_ptr<NetworkExecutor> compile_cpu(const Graph& graph, std::vector<Tap> taps, const Shape& images,
                                             const Setting& setting) {
  NetworkOptions options;
  options.taps = std::move(taps);
  options.max_batch = setting.max_batch > 0 ? setting.max_batch : images.at(0);
  options.height = images.at(2);
  options.width = images.at(3);
  options.conv = setting.conv;
  return cpu::CpuBackend(setting.threads).make_network(graph, options);
}

Nhwc::Nhwc(const reference::Array& images) {
  const Shape& s = images.shape;
  const reference::Array rows = reference::tokens(images);
  values.assign(rows.data.begin(), rows.data.end());
  view = {values.data(), {s[0], s[2], s[3], s[1]}};
}

std::vector<float> tokens_of(const NetworkExecutor& network, size_t tap) {
  const View<const float, 2> tokens = network.tap(tap).tokens();
  std::vector<float> rows;
  for (int64_t i = 0; i < tokens.shape[0]; ++i)
    rows.insert(rows.end(), tokens.row(i), tokens.row(i) + tokens.shape[1]);
  return rows;
}

double worst_error(const Graph& graph, const std::vector<ValueId>& values, const reference::Array& images,
                   const Setting& setting) {
  std::vector<Tap> taps;
  for (const ValueId value : values) taps.push_back(whole_tap(graph, value));
  const auto network = compile_cpu(graph, taps, images.shape, setting);
  const auto stream = cpu::CpuBackend(1).make_stream();
  const Nhwc input(images);
  network->run(*stream, input.view);
  // The reference computes with the same float inputs.
  reference::Array rounded = images;
  for (double& number : rounded.data) number = static_cast<float>(number);
  const std::vector<reference::Array> expected = reference::run_network(graph, rounded);
  double worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const reference::Array want = reference::tokens(expected.at(static_cast<size_t>(values[i])));
    const View<const float, 2> tokens = network->tap(i).tokens();
    const reference::Array got({tokens.shape[0], tokens.shape[1]}, tokens_of(*network, i));
    worst = std::max(worst, reference::relative_error(got, want));
  }
  return worst;
}

}  // namespace branchsae::test
