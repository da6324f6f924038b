#include "bench/layer_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace branchsae::bench {
namespace {

double sum_ms(std::span<const LayerTime> layers) {
  double sum = 0;
  for (const LayerTime& layer : layers) sum += layer.milliseconds;
  return sum;
}

std::string number(double value, int decimals) {
  return value > 0 ? fmt::format("{:.{}f}", value, decimals) : "";
}

struct Widths {
  size_t node = 4, op = 2, implementation = 14;
};

Widths widths_of(std::span<const LayerTime> layers) {
  Widths widths;
  for (const LayerTime& layer : layers) {
    widths.node = std::max(widths.node, layer.node.size());
    widths.op = std::max(widths.op, layer.op.size());
    widths.implementation = std::max(widths.implementation, layer.implementation.size());
  }
  return widths;
}

std::string line(const Widths& widths, const LayerTime& layer, double whole_ms, double peak_gflops) {
  const double gflop = 1e-9 * static_cast<double>(layer.flops);
  const double gflops = layer.milliseconds > 0 ? 1e3 * gflop / layer.milliseconds : 0;
  const double megabytes = layer.flops > 0 ? 0 : 1e-6 * static_cast<double>(layer.bytes);
  return fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>8.3f}  {:>7.1f}  {:>7}  {:>7}  {:>6}  {:>7}  {:>6}\n",
                     layer.node, widths.node, layer.op, widths.op, layer.implementation,
                     widths.implementation, layer.milliseconds, 100 * layer.milliseconds / whole_ms,
                     number(gflop, 3), number(gflops, 1),
                     number(peak_gflops > 0 ? 100 * gflops / peak_gflops : 0, 1), number(megabytes, 2),
                     number(layer.milliseconds > 0 ? megabytes / layer.milliseconds : 0, 1));
}

}  // namespace

std::string layer_table(std::span<const LayerTime> layers, double peak_gflops) {
  const Widths widths = widths_of(layers);
  const double whole_ms = sum_ms(layers);
  std::string text =
      fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>8}  {:>7}  {:>7}  {:>7}  {:>6}  {:>7}  {:>6}\n", "node",
                  widths.node, "op", widths.op, "implementation", widths.implementation, "ms", "% of ms",
                  "GFLOP", "GFLOP/s", "% peak", "MB", "GB/s");
  LayerTime sum{.node = "sum", .op = "", .implementation = "", .milliseconds = whole_ms};
  for (const LayerTime& layer : layers) {
    text += line(widths, layer, whole_ms, peak_gflops);
    sum.flops += layer.flops;
  }
  return text + line(widths, sum, whole_ms, peak_gflops);
}

nlohmann::json layers_json(std::span<const LayerTime> layers) {
  const double whole_ms = sum_ms(layers);
  nlohmann::json result = nlohmann::json::array();
  for (const LayerTime& layer : layers) {
    result.push_back({{"node", layer.node},
                      {"op", layer.op},
                      {"implementation", layer.implementation},
                      {"ms", layer.milliseconds},
                      {"share", whole_ms > 0 ? layer.milliseconds / whole_ms : 0.0},
                      {"flops", layer.flops},
                      {"bytes", layer.bytes}});
  }
  return result;
}

}  // namespace branchsae::bench
