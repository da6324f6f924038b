// Speed of the forward pass: first checked (on the host Winograd beside direct convolutions, on a GPU beside
// the host), then timed with inputs that rotate beyond the caches. Batch sizes and algorithms take turns, so
// that a change of the machine's mood meets all of them alike.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "bench/fma_peak.h"
#include "bench/layer_table.h"
#include "bench/meter.h"
#include "cpu/waiting.h"
#include "engine/error.h"
#include "engine/random.h"
#include "loader/onnx_loader.h"
#include "model/device_rows.h"

using namespace branchsae;
using bench::Meter;
using bench::quantile;

namespace {

struct Options {
  bench::MeterOptions meter;
  std::string model, to = "logits", conv = "auto", input = "auto", precision = "auto";
  std::vector<int64_t> batches{1, 8, 32};
  int64_t size = 0;
  bool layers = false;
};

/// "logits": what the last softmax reads, else the graph's output. Anything else is a tap.
std::string resolve_end(const Graph& graph, const std::string& to) {
  if (to != "logits") return to;
  const ValueId output = graph.outputs.at(0);
  const int producer = graph.producer(output);
  if (producer < 0) return graph.value(output).name;
  const Node& last = graph.nodes[static_cast<size_t>(producer)];
  return graph.value(std::holds_alternative<SoftmaxOp>(last.op) ? last.inputs[0] : output).name;
}

/// Images on a device, of one kind: float32 of the size of preprocessed pixels, or 8-bit RGB.
struct Images {
  std::vector<DeviceBuffer<float>> floats;
  std::vector<DeviceBuffer<uint8_t>> bytes;
  std::array<int64_t, 4> shape;  ///< [N, H, W, C]

  int64_t sets() const { return static_cast<int64_t>(std::max(floats.size(), bytes.size())); }
  void run(Program& program, Stream& stream, int64_t set) const {
    if (!bytes.empty()) {
      program.run(View<const uint8_t, 4>(bytes[static_cast<size_t>(set)].data(), shape), stream);
    } else {
      program.run(View<const float, 4>(floats[static_cast<size_t>(set)].data(), shape), stream);
    }
  }
};

/// The first images of a set are the same for every batch size: one seed fills them in order.
Images make_images(const Meter& meter, const std::array<int64_t, 4>& shape, bool bytes, int64_t sets) {
  Images images{{}, {}, shape};
  const int64_t count = shape[0] * shape[1] * shape[2] * shape[3];
  for (int64_t set = 0; set < sets; ++set) {
    Random random(1, static_cast<uint64_t>(set));
    if (bytes) {
      std::vector<uint8_t> pixels(static_cast<size_t>(count));
      for (uint8_t& value : pixels) value = static_cast<uint8_t>(random.next_u32() >> 24);
      images.bytes.push_back(meter.upload(pixels.data(), count));
    } else {
      std::vector<float> pixels(static_cast<size_t>(count));
      for (float& value : pixels) value = static_cast<float>(60 * random.normal());
      images.floats.push_back(meter.upload(pixels.data(), count));
    }
  }
  return images;
}

/// One compiled batch size and the times of its runs.
struct Case {
  int64_t batch;
  ConvAlgorithm conv;
  Program program;
  Images images;
  int64_t flops_per_image = 0, runs = 0;
  std::vector<double> seconds = {};
};

/// What auto means is the device's to say.
NetworkPrecision network_precision(const Options& options) {
  using enum NetworkPrecision;
  if (options.precision == "auto") return kAuto;
  if (options.precision == "fp32") return kF32;
  if (options.precision == "tf32") return kTf32;
  return options.precision == "fp16" ? kF16 : kBf16;
}

bool takes_bytes(const Meter& meter, const Graph& graph, const Options& options) {
  if (options.input != "auto") return options.input == "u8";
  return !meter.on_host() && graph.preprocess.has_value() && graph.value(graph.input).shape.at(1) == 3;
}

Case make_case(const Meter& meter, const Graph& graph, const Options& options, int64_t batch,
               ConvAlgorithm conv, bool bytes, bool rotates) {
  Program program = meter.device().compile(graph, {.taps = {resolve_end(graph, options.to)},
                                                   .max_batch = batch,
                                                   .height = options.size,
                                                   .width = options.size,
                                                   .conv = conv,
                                                   .precision = network_precision(options)});
  const int64_t channels = graph.value(graph.input).shape.at(1);
  const std::array<int64_t, 4> shape{batch, program.height(), program.width(), channels};
  const int64_t size_bytes = batch * shape[1] * shape[2] * channels * (bytes ? 1 : 4);
  const int64_t sets = rotates && !meter.on_host() ? meter.rotated(size_bytes) : 1;
  Images images = make_images(meter, shape, bytes, sets);
  return {batch, conv, std::move(program), std::move(images)};
}

std::vector<float> run_once(const Meter& meter, Case& c) {
  c.images.run(c.program, meter.stream(), 0);
  const HostTensor tokens =
      model::rows_to_host_sync(meter.device().backend(), meter.stream(), c.program.tap(size_t{0}).tokens());
  return {tokens.values().begin(), tokens.values().end()};
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

/// Against direct convolutions on the host, in float32.
double checked_difference(const Meter& meter, const Graph& graph, const Options& options, bool bytes,
                          Case& c) {
  const Meter host({.device = "cpu", .threads = options.meter.threads});
  const Meter& where = meter.on_host() ? meter : host;
  Case direct =
      make_case(where, graph, options, std::min<int64_t>(c.batch, 2), ConvAlgorithm::kDirect, bytes, false);
  const std::vector<float> expected = run_once(where, direct);
  std::vector<float> got = run_once(meter, c);
  got.resize(expected.size());
  const double difference = relative_difference(got, expected);
  // Some 20 layers in float32, ten of them by Winograd: 1e-5 has been seen. TF32 rounds each layer's operands
  // by 2^-11, bf16 its results by 2^-9, half precision by less: at worst 20 times that.
  const bool exact = meter.on_host() || options.precision == "fp32";
  const double allowed = exact ? 1e-4 : options.precision == "tf32" ? 1e-2 : 5e-2;
  if (difference > allowed) {
    throw Error(fmt::format(
        "the output differs from that of direct convolutions in float32 by {:.1e}, more than {:.0e}",
        difference, allowed));
  }
  return difference;
}

/// Every layer's least time of ten.
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

struct Limits {
  double gemm_gflops = 0;  ///< a large matrix product, in the kind of numbers that the network uses
  double copy_gb_s = 0;
  double fma_gflops = 0;  ///< of the host's registers
};

/// 16-bit kinds have one rate.
SaePrecision gemm_precision(const Options& options) {
  if (options.precision == "fp32") return SaePrecision::kF32;
  return options.precision == "tf32" ? SaePrecision::kTf32 : SaePrecision::kBf16;
}

Limits measure_limits(const Meter& meter, const Options& options) {
  if (meter.on_host())
    return {.fma_gflops = bench::fma_peak_gflops(meter.device().backend().threads(), meter.clock())};
  const double share = std::min(0.5, meter.options().seconds / 4);
  return {.gemm_gflops = 1e-9 * meter.gemm_flops(gemm_precision(options), 8192, 8192, 4096, share),
          .copy_gb_s = 1e-9 * meter.copy_bytes_per_second(share)};
}

nlohmann::json summary(const Case& c, const Options& options, const Meter& meter, const Limits& limits,
                       double difference) {
  const auto batch = static_cast<double>(c.batch);
  const double median = quantile(c.seconds, 0.5), flops = static_cast<double>(c.flops_per_image);
  const double gflops = 1e-9 * flops * batch / median;
  nlohmann::json result{{"case", "forward"},
                        {"to", options.to},
                        {"batch", c.batch},
                        {"conv", c.conv == ConvAlgorithm::kDirect ? "direct" : "auto"},
                        {"precision", options.precision},
                        {"input", c.images.bytes.empty() ? "f32" : "u8"},
                        {"images_per_s", batch / median},
                        {"images_per_s_p10", batch / quantile(c.seconds, 0.9)},
                        {"images_per_s_p90", batch / quantile(c.seconds, 0.1)},
                        {"images_per_s_best", batch / quantile(c.seconds, 0)},
                        {"gflop_per_image", 1e-9 * flops},
                        {"gflops", gflops},
                        {"difference_from_direct", difference}};
  result.update(bench::device_fields(meter));
  result.update(bench::time_fields(c.seconds));
  if (meter.on_host()) {
    result["fma_gflops"] = limits.fma_gflops;
    result["percent_of_fma_peak"] = limits.fma_gflops > 0 ? 100 * gflops / limits.fma_gflops : 0.0;
  } else {
    result["gemm_gflops"] = limits.gemm_gflops;
    result["percent_of_gemm"] = 100 * gflops / limits.gemm_gflops;
    result["copy_gb_s"] = limits.copy_gb_s;
  }
  return result;
}

void print_summary(const nlohmann::json& s) {
  const bool host = s.contains("fma_gflops");
  fmt::print(
      "batch {:>3} {:<6}  {:>7.1f} images/s (p10 {:.1f}, p90 {:.1f}, best {:.1f})  {:>6.0f} GFLOP/s  "
      "{:>5.1f} % of {} {:.0f}  differs from direct by {:.1e}\n",
      s["batch"].get<int64_t>(), s["conv"].get<std::string>(), s["images_per_s"].get<double>(),
      s["images_per_s_p10"].get<double>(), s["images_per_s_p90"].get<double>(),
      s["images_per_s_best"].get<double>(), s["gflops"].get<double>(),
      s[host ? "percent_of_fma_peak" : "percent_of_gemm"].get<double>(), host ? "FMA peak" : "GEMM",
      s[host ? "fma_gflops" : "gemm_gflops"].get<double>(), s["difference_from_direct"].get<double>());
}

std::vector<ConvAlgorithm> algorithms(const std::string& text) {
  if (text == "auto") return {ConvAlgorithm::kAuto};
  if (text == "direct") return {ConvAlgorithm::kDirect};
  return {ConvAlgorithm::kAuto, ConvAlgorithm::kDirect};
}

void print_result(nlohmann::json result, const Case& c, const std::vector<LayerTime>& layers,
                  const Limits& limits, bool json) {
  if (json) {
    if (!layers.empty()) result["layers"] = bench::layers_json(layers);
    fmt::print("{}\n", result.dump());
    return;
  }
  print_summary(result);
  if (layers.empty()) return;
  fmt::print("\nbatch {}, {}: layers, best of 10, one chunk of the batch in each lane\n{}\n", c.batch,
             result["conv"].get<std::string>(),
             bench::layer_table(layers, std::max(limits.fma_gflops, limits.gemm_gflops)));
}

void run_all(const Options& options) {
  const Meter meter(options.meter);
  const Graph graph = load_onnx(options.model);
  const bool bytes = takes_bytes(meter, graph, options);
  std::vector<Case> cases;
  std::vector<double> differences;
  for (const int64_t batch : options.batches) {
    for (const ConvAlgorithm conv : algorithms(options.conv)) {
      cases.push_back(make_case(meter, graph, options, batch, conv, bytes, true));
      differences.push_back(checked_difference(meter, graph, options, bytes, cases.back()));
    }
  }
  // FLOPs of one image: a program for one image computes nothing else.
  Case one = make_case(meter, graph, options, 1, ConvAlgorithm::kDirect, bytes, false);
  const int64_t flops_per_image = total_flops(one, meter.stream());

  Limits limits = measure_limits(meter, options);
  const double until = meter.now_s() + options.meter.seconds * static_cast<double>(cases.size());
  while (meter.now_s() < until || cases.front().seconds.size() < 5) {
    for (Case& c : cases) {
      const std::vector<double> seconds = meter.round(
          c.runs, [&](int64_t run) { c.images.run(c.program, meter.stream(), run % c.images.sets()); });
      c.seconds.insert(c.seconds.end(), seconds.begin(), seconds.end());
    }
    if (meter.on_host())
      limits.fma_gflops = std::max(limits.fma_gflops, measure_limits(meter, options).fma_gflops);
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    cases[i].flops_per_image = flops_per_image;
    const std::vector<LayerTime> layers =
        options.layers ? best_profile(cases[i], meter.stream()) : std::vector<LayerTime>();
    print_result(summary(cases[i], options, meter, limits, differences[i]), cases[i], layers, limits,
                 options.meter.json);
  }
}

}  // namespace

int main(int argc, char** argv) {
  cpu::wait_briefly(argv);
  Options options;
  CLI::App app("Forward pass: checked, then timed.\nExample: bench_forward googlenet.onnx --batch 1,8,32");
  app.add_option("model", options.model, "ONNX file")->required();
  app.add_option("--batch", options.batches, "batch sizes")->delimiter(',')->check(CLI::Range(1, 4096));
  app.add_option("--to", options.to, "last tap to compute: logits, mixed4e, a tensor's name");
  app.add_option("--size", options.size, "height and width; 0: the model's own")
      ->check(CLI::Range(0, 1 << 16));
  app.add_option("--input", options.input,
                 "f32, u8 (8-bit RGB), or auto: u8 on a GPU where the model allows it")
      ->check(CLI::IsMember({"auto", "f32", "u8"}));
  app.add_option("--precision", options.precision, "auto, fp32, tf32, fp16 or bf16")
      ->check(CLI::IsMember({"auto", "fp32", "tf32", "fp16", "bf16"}));
  app.add_option("--conv", options.conv, "auto, direct, or both")
      ->check(CLI::IsMember({"auto", "direct", "both"}));
  app.add_flag("--layers", options.layers, "a table of layers for each case");
  bench::add_meter_options(app, options.meter);
  CLI11_PARSE(app, argc, argv);
  return bench::run_bench("bench_forward", [&] { run_all(options); });
}
