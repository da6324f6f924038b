// Speed of encode with TopK, which is exact and never stores all pre-activations: checked against double
// precision, then timed beside the matrix product alone, which is what it would take if selecting cost
// nothing.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/sae_cases.h"
#include "cpu/waiting.h"
#include "engine/error.h"

using namespace branchsae;
using bench::Meter;
using bench::quantile;

namespace {

/// Tokens and weights read, values and indices written, each once.
double encode_bytes(const SaeSpec& spec) {
  const auto b = static_cast<double>(spec.max_batch), d = static_cast<double>(spec.d),
             n = static_cast<double>(spec.n);
  return 4 * b * d + static_cast<double>(bench::number_bytes(spec.precision)) * n * d +
         8 * b * static_cast<double>(spec.k);
}

std::vector<double> time_encode(SaeExecutor& sae, const Meter& meter, const bench::SaeOptions& options) {
  const SaeSpec& spec = sae.spec();
  const int64_t rows = spec.max_batch;
  const bench::TokenBatches inputs(meter, spec, options);
  auto values = meter.device().backend().buffer<float>(rows * spec.k, "values");
  auto indices = meter.device().backend().buffer<int32_t>(rows * spec.k, "indices");
  return meter.time([&](int64_t run) {
    sae.encode(meter.stream(), inputs.of(run), values.matrix(rows, spec.k), indices.matrix(rows, spec.k));
  });
}

nlohmann::json run_case(const SaeSpec& spec, const bench::SaeOptions& options, const Meter& meter) {
  const auto [parameters, sae, check_tokens] = bench::make_sae_case(spec, options, meter);
  const double difference =
      bench::check_encode(*sae, meter, parameters, check_tokens, bench::tolerance(spec.precision));
  const double share = std::min(1.0, options.meter.seconds / 6);
  double gemm = meter.gemm_flops(spec.precision, spec.max_batch, spec.n, spec.d, share);
  const double copy = meter.copy_bytes_per_second(share / 4);
  const std::vector<double> seconds = time_encode(*sae, meter, options);
  gemm = std::max(gemm, meter.gemm_flops(spec.precision, spec.max_batch, spec.n, spec.d, share));

  const double median = quantile(seconds, 0.5), flop = bench::encode_flop(spec);
  nlohmann::json result = bench::case_fields("encode_topk", *sae, options, meter, seconds);
  result["gemm_gflops"] = 1e-9 * gemm;
  result["percent_of_gemm"] = 100 * flop / median / gemm;
  result["times_gemm"] = median * gemm / flop;
  result["copy_gb_s"] = 1e-9 * copy;
  result["percent_of_copy"] = 100 * encode_bytes(spec) / median / copy;
  result["difference"] = difference;
  return result;
}

void print_header(const nlohmann::json& first, const Meter&) {
  fmt::print(
      "{}, {}\n             B/d/n        ms       p10       p90     tokens/s   %GEMM xGEMM  GFLOP/s   %copy  "
      " "
      "GB/s  error\n",
      first["device"].get<std::string>(), first["precision"].get<std::string>());
}

void print_row(const nlohmann::json& r) {
  const auto number = [&](const char* field) { return r[field].get<double>(); };
  fmt::print(
      "{:>18} {:>9.3f} {:>9.3f} {:>9.3f} {:>12.0f}  {:>6.1f} {:>6.2f} {:>8.0f}  {:>6.1f} {:>6.0f}  {:.1e}\n",
      bench::shape_text(r), number("ms_median"), number("ms_p10"), number("ms_p90"), number("tokens_per_s"),
      number("percent_of_gemm"), number("times_gemm"), number("gemm_gflops"), number("percent_of_copy"),
      number("copy_gb_s"), number("difference"));
}

}  // namespace

int main(int argc, char** argv) {
  cpu::wait_briefly(argv);
  CLI::App app(
      "Times encode with TopK against the matrix product alone.\n"
      "Example: bench_encode_topk --shape 4096,64,1024 --threads 2");
  bench::SaeOptions options;
  bench::add_sae_options(app, options);
  CLI11_PARSE(app, argc, argv);
  return bench::run_bench("bench_encode_topk", [&] {
    bench::run_cases({run_case, print_header, print_row}, options);
  });
}
