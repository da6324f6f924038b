#include "tests/cpu/network_check.h"

#include "cpu/cpu_backend.h"
#include "engine/passes.h"

namespace branchsae::test {

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
  const auto network = compile_cpu(graph, whole_taps(graph, values), images.shape, setting);
  const auto stream = cpu::CpuBackend(1).make_stream();
  const Nhwc input(images);
  network->run(*stream, input.view);
  return worst_error(graph, values, images, [&](size_t tap) {
    const View<const float, 2> tokens = network->tap(tap).tokens();
    return reference::Array({tokens.shape[0], tokens.shape[1]}, tokens_of(*network, tap));
  });
}

}  // namespace branchsae::test
