// Speed of one training step of the k-sparse autoencoder: checked against double precision, then timed on
// normal data beside the limit that its encode's matrix product sets.
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/fma_peak.h"
#include "bench/sae_cases.h"
#include "cpu/sae/sae_executor.h"
#include "engine/error.h"

using namespace branchsae;
using bench::Meter;
using bench::quantile;

namespace {

/// Batches on the device, one after the other.
struct Inputs {
  std::vector<DeviceBuffer<float>> batches;
  int64_t rows, d;
  View<const float, 2> of(int64_t run) const {
    return {batches[static_cast<size_t>(run) % batches.size()].data(), {rows, d}};
  }
};

Inputs upload_inputs(const Meter& meter, const SaeSpec& spec, double density) {
  Inputs inputs{{}, spec.max_batch, spec.d};
  const int64_t count = meter.rotated(spec.max_batch * spec.d * static_cast<int64_t>(sizeof(float)));
  for (int64_t i = 0; i < count; ++i) {
    const HostTensor x = bench::random_tokens(spec.max_batch, spec.d, density, static_cast<uint64_t>(10 + i));
    inputs.batches.push_back(meter.upload(x.data(), x.size()));
  }
  return inputs;
}

/// What a step has to move at least when nothing but the weights stays in a cache: tokens, x and ex written
/// and read, pairs, and weights with their moments.
double step_bytes(const SaeSpec& spec) {
  const auto b = static_cast<double>(spec.max_batch), d = static_cast<double>(spec.d),
             n = static_cast<double>(spec.n);
  const auto number = static_cast<double>(bench::number_bytes(spec.precision));
  return b * d * (4 + 6 * number) + 24 * b * static_cast<double>(spec.k) + (spec.tied ? 30 : 60) * n * d;
}

/// Where the time of the host's step goes, in nanoseconds of one thread a token.
nlohmann::json phase_fields(SaeExecutor& sae, double tokens) {
  const cpu::SaeStepTimes phases = cpu::take_step_times(sae);
  return {{"encode_select", 1e9 * phases.encode_select / tokens},
          {"decode_gradient", 1e9 * phases.decode_gradient / tokens},
          {"sort", 1e9 * phases.sort / tokens},
          {"update", 1e9 * phases.update / tokens}};
}

struct Limits {
  double gemm = 0;  ///< FLOP/s of the encode's product alone
  double fma = 0, copy = 0;
  void measure(const Meter& meter, const SaeSpec& spec) {
    const double share = std::min(1.0, meter.options().seconds / 6);
    gemm = std::max(gemm, meter.gemm_flops(spec.precision, spec.max_batch, spec.n, spec.d, share));
    if (!meter.on_host()) {
      copy = std::max(copy, meter.copy_bytes_per_second(share / 4));
    } else {
      fma = std::max(fma, 1e9 * bench::fma_peak_gflops(meter.device().backend().threads(), meter.clock()));
    }
  }
};

nlohmann::json run_case(const SaeSpec& spec, const bench::SaeOptions& options, const Meter& meter) {
  const auto sae = meter.device().backend().make_sae(spec);
  const SaeParameters parameters = bench::random_parameters(spec);
  sae->load_sync(parameters);
  const bench::GradientCheck check = bench::check_gradients(
      *sae, meter, parameters,
      bench::random_tokens(std::min<int64_t>(spec.max_batch, 64), spec.d, options.density, 10),
      bench::tolerance(spec.precision));

  Limits limits;
  limits.measure(meter, spec);
  const Inputs inputs = upload_inputs(meter, spec, options.density);
  SaeStep step;
  const auto one_step = [&](int64_t run) {
    sae->step(meter.stream(), inputs.of(run), step);
    ++step.adam_step;
  };
  if (meter.on_host()) cpu::take_step_times(*sae);  // what the check took
  const std::vector<double> seconds = meter.time(one_step);
  const auto batch = static_cast<double>(spec.max_batch);
  limits.measure(meter, spec);

  const double median = quantile(seconds, 0.5);
  const double flop = 2 * batch * static_cast<double>(spec.n) * static_cast<double>(spec.d);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  nlohmann::json result{{"case", "sae_step"},
                        {"batch", spec.max_batch},
                        {"d", spec.d},
                        {"n", spec.n},
                        {"k", spec.k},
                        {"tied", spec.tied},
                        {"precision", to_string(spec.precision)},
                        {"density", options.density},
                        {"kernels", sae->description()},
                        {"tokens_per_s", batch / median},
                        {"tokens_per_s_p10", batch / quantile(seconds, 0.9)},
                        {"tokens_per_s_p90", batch / quantile(seconds, 0.1)},
                        {"tokens_per_s_best", batch / quantile(seconds, 0)},
                        {"gemm_gflops", 1e-9 * limits.gemm},
                        {"percent_of_gemm", 100 * flop / median / limits.gemm},
                        {"best_percent_of_gemm", 100 * flop / quantile(seconds, 0) / limits.gemm},
                        {"sae_mib", static_cast<double>(sae->memory_bytes()) / (1 << 20)},
                        {"peak_process_mib", static_cast<double>(usage.ru_maxrss) / 1024},
                        {"loss_difference", check.loss},
                        {"gradient_difference", check.gradient}};
  result.update(bench::device_fields(meter));
  result.update(bench::time_fields(seconds));
  if (meter.on_host()) {
    result["fma_gflops"] = 1e-9 * limits.fma;
    result["percent_of_fma"] = limits.fma > 0 ? 100 * flop / median / limits.fma : 0.0;
    result["thread_ns_per_token"] = phase_fields(*sae, batch * static_cast<double>(step.adam_step - 1));
  } else {
    result["copy_gb_s"] = 1e-9 * limits.copy;
    result["percent_of_copy"] = 100 * step_bytes(spec) / median / limits.copy;
  }
  return result;
}

double number(const nlohmann::json& value) {
  return value.get<double>();
}

void print_row(const nlohmann::json& r) {
  const std::string shape =
      fmt::format("{}/{}/{}", r["batch"].get<int64_t>(), r["d"].get<int64_t>(), r["n"].get<int64_t>());
  fmt::print("{:>18} {:>9.3f} {:>11.0f} {:>11.0f} {:>11.0f}  {:>6.1f} {:>8.0f}", shape,
             number(r["ms_median"]), number(r["tokens_per_s"]), number(r["tokens_per_s_p10"]),
             number(r["tokens_per_s_best"]), number(r["percent_of_gemm"]), number(r["gemm_gflops"]));
  if (r.contains("thread_ns_per_token")) {
    const auto& ns = r["thread_ns_per_token"];
    fmt::print("  {:>6.1f} {:>6.0f}  {:>6.0f} {:>6.0f} {:>6.0f} {:>6.0f}", number(r["percent_of_fma"]),
               number(r["fma_gflops"]), number(ns["encode_select"]), number(ns["decode_gradient"]),
               number(ns["sort"]), number(ns["update"]));
  } else {
    fmt::print("  {:>6.1f} {:>6.0f}", number(r["percent_of_copy"]), number(r["copy_gb_s"]));
  }
  fmt::print("  {:.1e}\n", number(r["gradient_difference"]));
}

void run_all(const bench::SaeOptions& options) {
  const Meter meter(options.meter);
  bool first = true;
  for (const SaeSpec& spec : bench::sae_specs(options, meter)) {
    const nlohmann::json result = run_case(spec, options, meter);
    if (options.meter.json) {
      fmt::print("{}\n", result.dump());
      continue;
    }
    if (first) {
      fmt::print(
          "{}\n{}\n             B/d/n        ms    tokens/s         p10        best   %GEMM  GFLOP/s  {}  "
          "gradient "
          "error\n",
          result["device"].get<std::string>(), result["kernels"].get<std::string>(),
          meter.on_host() ? "  %FMA GFLOP/s  ns/token of one thread: encode, decode, sort, update"
                          : " %copy   GB/s");
    }
    first = false;
    print_row(result);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Times the training step of the k-sparse autoencoder.\n"
      "Example: bench_sae_step --shape 4096,64,1024 --threads 2");
  bench::SaeOptions options;
  bench::add_sae_options(app, options);
  CLI11_PARSE(app, argc, argv);
  return bench::run_bench("bench_sae_step", [&] { run_all(options); });
}
