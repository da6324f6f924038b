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
#include "cpu/waiting.h"
#include "engine/error.h"

using namespace branchsae;
using bench::Meter;
using bench::quantile;

namespace {

struct StepOptions : bench::SaeOptions {
  int64_t losses = 0;  ///< how many first steps' to report
};

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
  const SaeStepTimes phases = sae.take_times();
  return {{"encode_select", 1e9 * phases.encode_select / tokens},
          {"decode_gradient", 1e9 * phases.decode_gradient / tokens},
          {"update", 1e9 * phases.update / tokens}};
}

/// Shares of the tiles of tokens that were encoded in each way.
nlohmann::json tile_fields(SaeExecutor& sae, double tokens) {
  const cpu::EncodeCounts counts = cpu::take_encode_counts(sae);
  const auto tiles =
      static_cast<double>(std::max<int64_t>(counts.dense + counts.sparse + counts.bf16 + counts.fixed, 1));
  return {{"dense", static_cast<double>(counts.dense) / tiles},
          {"sparse", static_cast<double>(counts.sparse) / tiles},
          {"bf16", static_cast<double>(counts.bf16) / tiles},
          {"fixed", static_cast<double>(counts.fixed) / tiles},
          {"all_scored", static_cast<double>(counts.scored_tokens) / tokens}};
}

/// Mean |r|^2 of a token in each of the first steps, for comparison with other programs'; the parameters are
/// back where they were afterwards, the moments at zero.
std::vector<double> first_losses(SaeExecutor& sae, const SaeParameters& parameters,
                                 const bench::TokenBatches& inputs, const Meter& meter, int64_t count) {
  std::vector<double> losses;
  if (count == 0) return losses;
  sae.read_stats_sync();
  for (SaeStep step; step.adam_step <= count; ++step.adam_step) {
    sae.step(meter.stream(), inputs.of(step.adam_step - 1), step);
    const SaeStats stats = sae.read_stats_sync();
    losses.push_back(stats.squared_error / static_cast<double>(stats.tokens));
  }
  sae.load_sync(parameters);
  sae.load_optimizer_sync({});
  return losses;
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

nlohmann::json run_case(const SaeSpec& spec, const StepOptions& options, const Meter& meter) {
  const auto [parameters, sae, check_tokens] = bench::make_sae_case(spec, options, meter);
  const bench::GradientCheck check =
      bench::check_gradients(*sae, meter, parameters, check_tokens, bench::tolerance(spec.precision));

  Limits limits;
  limits.measure(meter, spec);
  const bench::TokenBatches inputs(meter, spec, options);
  SaeExecutor& executor = *sae;
  const std::vector<double> losses = first_losses(executor, parameters, inputs, meter, options.losses);
  SaeStep step;
  const auto one_step = [&](int64_t run) {
    executor.step(meter.stream(), inputs.of(run), step);
    ++step.adam_step;
  };
  if (meter.on_host()) {  // what the check took
    executor.take_times();
    cpu::take_encode_counts(executor);
  }
  const std::vector<double> seconds = meter.time(one_step);
  const auto batch = static_cast<double>(spec.max_batch);
  limits.measure(meter, spec);

  const double median = quantile(seconds, 0.5), flop = bench::encode_flop(spec);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  nlohmann::json result = bench::case_fields("sae_step", executor, options, meter, seconds);
  result["tied"] = spec.tied;
  result["density"] = inputs.density();
  if (!losses.empty()) result["losses"] = losses;
  result["tokens_per_s_p10"] = batch / quantile(seconds, 0.9);
  result["tokens_per_s_p90"] = batch / quantile(seconds, 0.1);
  result["tokens_per_s_best"] = batch / quantile(seconds, 0);
  result["gemm_gflops"] = 1e-9 * limits.gemm;
  result["percent_of_gemm"] = 100 * flop / median / limits.gemm;
  result["best_percent_of_gemm"] = 100 * flop / quantile(seconds, 0) / limits.gemm;
  result["sae_mib"] = static_cast<double>(executor.memory_bytes()) / (1 << 20);
  result["peak_process_mib"] = static_cast<double>(usage.ru_maxrss) / 1024;
  result["loss_difference"] = check.loss;
  result["gradient_difference"] = check.gradient;
  if (meter.on_host()) {
    result["fma_gflops"] = 1e-9 * limits.fma;
    result["percent_of_fma"] = limits.fma > 0 ? 100 * flop / median / limits.fma : 0.0;
    result["thread_ns_per_token"] = phase_fields(executor, batch * static_cast<double>(step.adam_step - 1));
    result["tiles"] = tile_fields(executor, batch * static_cast<double>(step.adam_step - 1));
  } else {
    result["copy_gb_s"] = 1e-9 * limits.copy;
    result["percent_of_copy"] = 100 * step_bytes(spec) / median / limits.copy;
  }
  return result;
}

double number(const nlohmann::json& value) {
  return value.get<double>();
}

void print_header(const nlohmann::json& first, const Meter& meter) {
  fmt::print(
      "{}\n{}\n             B/d/n        ms    tokens/s         p10        best   %GEMM  GFLOP/s  {}  "
      "gradient error\n",
      first["device"].get<std::string>(), first["kernels"].get<std::string>(),
      meter.on_host() ? "  %FMA GFLOP/s  ns/token of one thread: encode, decode, update"
                        "  % of tiles dense, sparse, bf16, fixed"
                      : " %copy   GB/s");
}

void print_row(const nlohmann::json& r) {
  fmt::print("{:>18} {:>9.3f} {:>11.0f} {:>11.0f} {:>11.0f}  {:>6.1f} {:>8.0f}", bench::shape_text(r),
             number(r["ms_median"]), number(r["tokens_per_s"]), number(r["tokens_per_s_p10"]),
             number(r["tokens_per_s_best"]), number(r["percent_of_gemm"]), number(r["gemm_gflops"]));
  if (r.contains("thread_ns_per_token")) {
    const auto& ns = r["thread_ns_per_token"];
    fmt::print("  {:>6.1f} {:>6.0f}  {:>6.0f} {:>6.0f} {:>6.0f}", number(r["percent_of_fma"]),
               number(r["fma_gflops"]), number(ns["encode_select"]), number(ns["decode_gradient"]),
               number(ns["update"]));
    const auto& tiles = r["tiles"];
    fmt::print(" {:>4.0f} {:>4.0f} {:>4.0f} {:>4.0f}", 100 * number(tiles["dense"]),
               100 * number(tiles["sparse"]), 100 * number(tiles["bf16"]), 100 * number(tiles["fixed"]));
  } else {
    fmt::print("  {:>6.1f} {:>6.0f}", number(r["percent_of_copy"]), number(r["copy_gb_s"]));
  }
  fmt::print("  {:.1e}\n", number(r["gradient_difference"]));
}

}  // namespace

int main(int argc, char** argv) {
  cpu::wait_briefly(argv);
  CLI::App app(
      "Times the training step of the k-sparse autoencoder.\n"
      "Example: bench_sae_step --shape 4096,64,1024 --threads 2");
  StepOptions options;
  bench::add_sae_options(app, options);
  app.add_option("--losses", options.losses, "report the losses of so many first steps")
      ->check(CLI::Range(0, 1000));
  CLI11_PARSE(app, argc, argv);
  return bench::run_bench("bench_sae_step", [&] {
    const auto run_one = [&](const SaeSpec& spec, const bench::SaeOptions&, const Meter& meter) {
      return run_case(spec, options, meter);
    };
    bench::run_cases({run_one, print_header, print_row}, options);
  });
}
