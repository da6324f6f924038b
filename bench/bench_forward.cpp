// Speed of the forward pass on the CPU: first checked (Winograd beside direct convolutions, everything
// finite), then timed. Batch sizes and algorithms take turns, so that a change of the machine's mood meets
// all of them alike.
#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "bench/fma_peak.h"
#include "engine/device.h"
#include "engine/error.h"
#include "engine/random.h"
#include "loader/onnx_loader.h"

using namespace branchsae;

namespace {

struct Options {
  std::string model, to = "logits", conv = "auto";
  std::vector<int64_t> batches{1, 8, 32};
  int threads = 0;
  int64_t size = 0;
  double seconds = 3;
  bool layers = false, json = false, cpu_clock = false;
};

double wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Processor time of this process: what one thread would take on a machine with nothing else to do, but for
/// cache and clock effects. Threads that wait for one another spin, so it means something for --threads 1
/// only.
double cpu_s() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double (*now_s)() = wall_s;

/// "logits": what the last softmax reads, else the graph's output. Anything else is a tap.
std::string resolve_end(const Graph& graph, const std::string& to) {
  if (to != "logits") return to;
  const ValueId output = graph.outputs.at(0);
  const int producer = graph.producer(output);
  if (producer < 0) return graph.value(output).name;
  const Node& last = graph.nodes[static_cast<size_t>(producer)];
  return graph.value(std::holds_alternative<SoftmaxOp>(last.op) ? last.inputs[0] : output).name;
}

/// One compiled batch size and the times of its runs.
struct Case {
  int64_t batch;
  ConvAlgorithm conv;
  Program program;
  HostTensor images;  ///< [N, H, W, C]
  int64_t flops_per_image = 0;
  std::vector<double> seconds;

  View<const float, 4> view() const {
    const Shape& s = images.shape();
    return {images.data(), {s[0], s[1], s[2], s[3]}};
  }
};

/// Numbers of the size of preprocessed pixels.
HostTensor random_images(const Shape& shape) {
  HostTensor images(shape);
  Random random(1, 0);
  for (float& value : images.values()) value = static_cast<float>(60 * random.normal());
  return images;
}

Case make_case(const Device& device, const Graph& graph, const Options& options, const std::string& end,
               int64_t batch, ConvAlgorithm conv) {
  Program program = device.compile(
      graph,
      {.taps = {end}, .max_batch = batch, .height = options.size, .width = options.size, .conv = conv});
  const int64_t channels = graph.value(graph.input).shape.at(1);
  HostTensor images = random_images({batch, program.height(), program.width(), channels});
  return {batch, conv, std::move(program), std::move(images), 0, {}};
}

std::vector<float> run_once(Case& c, Stream& stream) {
  c.program.run(c.view(), stream);
  stream.synchronize();
  const View<const float, 2> tokens = c.program.tap(size_t{0}).tokens();
  std::vector<float> values;
  for (int64_t i = 0; i < tokens.shape[0]; ++i)
    values.insert(values.end(), tokens.row(i), tokens.row(i) + tokens.shape[1]);
  return values;
}

/// Norm of the difference over the norm; throws when something is not finite.
double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) throw Error("the network's output is not finite");
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += static_cast<double>(b[i]) * b[i];
  }
  if (norm == 0) throw Error("the network's output is all zero");
  return std::sqrt(difference / norm);
}

double checked_difference(const Device& device, const Graph& graph, const Options& options,
                          const std::string& end, Case& c, Stream& stream) {
  Case direct = make_case(device, graph, options, end, std::min<int64_t>(c.batch, 2), ConvAlgorithm::kDirect);
  const std::vector<float> expected = run_once(direct, stream);
  std::vector<float> got = run_once(c, stream);
  got.resize(expected.size());  // the first images are the same: one seed fills them in order
  const double difference = relative_difference(got, expected);
  // Some 20 layers in float32, ten of them by Winograd: 1e-5 has been seen.
  if (difference > 1e-4)
    throw Error(fmt::format("Winograd and direct convolutions differ by {:.1e}", difference));
  return difference;
}

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

/// Every layer's least time of ten.
/// count.
std::vector<LayerTime> best_profile(Case& c, Stream& stream) {
  std::vector<LayerTime> best = c.program.executor().profile(stream);
  for (int i = 0; i < 9; ++i) {
    const std::vector<LayerTime> again = c.program.executor().profile(stream);
    for (size_t j = 0; j < best.size(); ++j)
      best[j].milliseconds = std::min(best[j].milliseconds, again[j].milliseconds);
  }
  return best;
}

int64_t total_flops(Case& c, Stream& stream) {
  int64_t flops = 0;
  for (const LayerTime& layer : c.program.executor().profile(stream)) flops += layer.flops;
  return flops;
}

void print_layers(const Case& c, const std::vector<LayerTime>& layers) {
  fmt::print("\nbatch {}: layers, best of 10, one chunk of the batch\n{:<28} {:<18} {:<26} {:>9} {:>9}\n",
             c.batch, "node", "op", "implementation", "ms", "GFLOP/s");
  for (const LayerTime& layer : layers) {
    fmt::print("{:<28} {:<18} {:<26} {:>9.3f} {:>9.1f}\n", layer.node, layer.op, layer.implementation,
               layer.milliseconds, 1e-6 * static_cast<double>(layer.flops) / layer.milliseconds);
  }
}

nlohmann::json summary(const Case& c, const Options& options, const Device& device, double peak,
                       double difference) {
  const auto batch = static_cast<double>(c.batch);
  const double median = quantile(c.seconds, 0.5), flops = static_cast<double>(c.flops_per_image);
  const double gflops = 1e-9 * flops * batch / median;
  return {{"case", "forward"},
          {"to", options.to},
          {"batch", c.batch},
          {"conv", c.conv == ConvAlgorithm::kDirect ? "direct" : "auto"},
          {"device", device.backend().description()},
          {"threads", device.backend().threads()},
          {"clock", options.cpu_clock ? "cpu" : "wall"},
          {"runs", c.seconds.size()},
          {"images_per_s", batch / median},
          {"images_per_s_p10", batch / quantile(c.seconds, 0.9)},
          {"images_per_s_p90", batch / quantile(c.seconds, 0.1)},
          {"images_per_s_best", batch / quantile(c.seconds, 0)},
          {"gflop_per_image", 1e-9 * flops},
          {"gflops", gflops},
          {"fma_gflops", peak},
          {"percent_of_fma_peak", peak > 0 ? 100 * gflops / peak : 0.0},
          {"difference_from_direct", difference}};
}

void print_summary(const nlohmann::json& s) {
  fmt::print(
      "batch {:>3} {:<6}  {:>7.1f} images/s (p10 {:.1f}, p90 {:.1f}, best {:.1f})  {:>6.0f} GFLOP/s  "
      "{:>5.1f} % of "
      "FMA peak {:.0f}  differs from direct by {:.1e}\n",
      s["batch"].get<int64_t>(), s["conv"].get<std::string>(), s["images_per_s"].get<double>(),
      s["images_per_s_p10"].get<double>(), s["images_per_s_p90"].get<double>(),
      s["images_per_s_best"].get<double>(), s["gflops"].get<double>(), s["percent_of_fma_peak"].get<double>(),
      s["fma_gflops"].get<double>(), s["difference_from_direct"].get<double>());
}

std::vector<ConvAlgorithm> algorithms(const std::string& text) {
  if (text == "auto") return {ConvAlgorithm::kAuto};
  if (text == "direct") return {ConvAlgorithm::kDirect};
  return {ConvAlgorithm::kAuto, ConvAlgorithm::kDirect};
}

void run_bench(const Options& options) {
  const Graph graph = load_onnx(options.model);
  const Device device = Device::cpu(options.threads);
  const auto stream = device.make_stream();
  const std::string end = resolve_end(graph, options.to);
  std::vector<Case> cases;
  std::vector<double> differences;
  for (const int64_t batch : options.batches) {
    for (const ConvAlgorithm conv : algorithms(options.conv)) {
      cases.push_back(make_case(device, graph, options, end, batch, conv));
      differences.push_back(checked_difference(device, graph, options, end, cases.back(), *stream));
    }
  }
  // FLOPs of one image: a program for one image computes nothing else.
  Case one = make_case(device, graph, options, end, 1, ConvAlgorithm::kDirect);
  const int64_t flops_per_image = total_flops(one, *stream);

  double peak = 0;
  const double until = now_s() + options.seconds * static_cast<double>(cases.size());
  while (now_s() < until || cases.front().seconds.size() < 5) {
    for (Case& c : cases) {
      const double begin = now_s();
      c.program.run(c.view(), *stream);
      stream->synchronize();
      c.seconds.push_back(now_s() - begin);
    }
    peak = std::max(peak, bench::fma_peak_gflops(device.backend().threads(), now_s));
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    cases[i].flops_per_image = flops_per_image;
    nlohmann::json result = summary(cases[i], options, device, peak, differences[i]);
    const std::vector<LayerTime> layers =
        options.layers ? best_profile(cases[i], *stream) : std::vector<LayerTime>();
    if (!options.json) {
      print_summary(result);
      if (options.layers) print_layers(cases[i], layers);
      continue;
    }
    for (const LayerTime& layer : layers) {
      result["layers"].push_back({{"node", layer.node},
                                  {"op", layer.op},
                                  {"implementation", layer.implementation},
                                  {"ms", layer.milliseconds},
                                  {"flops", layer.flops}});
    }
    fmt::print("{}\n", result.dump());
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Forward pass on the CPU: checked, then timed.\nExample: bench_forward googlenet.onnx --batch 1,8,32");
  app.add_option("model", options.model, "ONNX file")->required();
  app.add_option("--batch", options.batches, "batch sizes")->delimiter(',')->check(CLI::Range(1, 4096));
  app.add_option("--to", options.to, "last tap to compute: logits, mixed4e, a tensor's name");
  app.add_option("--threads", options.threads, "0: all processors")->check(CLI::Range(0, 1024));
  app.add_option("--size", options.size, "height and width; 0: the model's own")
      ->check(CLI::Range(0, 1 << 16));
  app.add_option("--seconds", options.seconds, "about how long each case runs")->check(CLI::PositiveNumber);
  app.add_option("--conv", options.conv, "auto, direct, or both")
      ->check(CLI::IsMember({"auto", "direct", "both"}));
  app.add_flag("--layers", options.layers, "a table of layers for each case");
  app.add_flag("--cpu-clock", options.cpu_clock,
               "processor time instead of wall time, on one thread: for busy machines");
  app.add_flag("--json", options.json, "one JSON line a case");
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.cpu_clock) {
      options.threads = 1;
      now_s = cpu_s;
    }
    run_bench(options);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "bench_forward: {}\n", error.what());
    return error.exit_code();
  }
}
