// Speed of one training step of the k-sparse autoencoder on the CPU: checked against double precision, then
// timed on normal data beside the limit that its encode's matrix product sets.
#include <dnnl.h>
#include <fmt/format.h>
#include <omp.h>
#include <sys/resource.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/fma_peak.h"
#include "cpu/sae/sae_executor.h"
#include "engine/error.h"
#include "engine/random.h"
#include "tests/reference/sae.h"

using namespace branchsae;

namespace {

struct Options {
  std::vector<std::string> shapes;
  int64_t k = 32;
  int threads = 0;
  bool untied = false, json = false, cpu_clock = false;
  double seconds = 3;
  double density = 1;
};

struct Shape3 {
  int64_t batch, d, n;
};

class NoStream final : public Stream {
 public:
  void synchronize() override {}
};

double wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Processor time of all threads, as if they ran at once: what a step would take on a machine with nothing
// else to do, but for cache and clock effects. Threads that wait for one another spin, so only one thread is
// measured exactly.
double cpu_s() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec)) /
         omp_get_max_threads();
}

double (*now_s)() = wall_s;

Shape3 parse_shape(const std::string& text) {
  long long batch = 0, d = 0, n = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lld,%lld,%lld%c", &batch, &d, &n, &rest) != 3 || batch < 1 || d < 1 ||
      n < 1)
    throw InputError("--shape needs three positive numbers B,d,n, not \"" + text + "\"");
  return {batch, d, n};
}

// Normal numbers, with a share of zeros as ReLU leaves them when density < 1.
HostTensor tokens(int64_t rows, int64_t d, double density, uint64_t seed) {
  HostTensor x({rows, d});
  Random random(seed, 0);
  for (float& value : x.values())
    value = density >= 1 || random.uniform() < density ? static_cast<float>(random.normal()) : 0.0F;
  return x;
}

SaeParameters start(const SaeSpec& spec) {
  SaeParameters p;
  const auto rows = [&](uint64_t seed) {
    HostTensor w = tokens(spec.n, spec.d, 1, seed);
    for (float& value : w.values()) value *= 0.5F / std::sqrt(static_cast<float>(spec.d));
    return w;
  };
  p.w = rows(1);
  if (!spec.tied) p.w_dec = rows(2);
  p.b_enc = HostTensor({spec.n});
  p.b_pre = HostTensor({spec.d});
  return p;
}

double relative_difference(const HostTensor& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double error = static_cast<double>(a[static_cast<int64_t>(i)]) - b[i];
    difference += error * error;
    norm += b[i] * b[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

struct Check {
  double loss, gradient;  ///< relative differences
};

// A few tokens through the executor and the double-precision reference.
Check check_gradients(SaeExecutor& sae, const SaeParameters& parameters, View<const float, 2> x) {
  const SaeSpec& spec = sae.spec();
  reference::Sae expected(spec);
  expected.load(parameters);
  HostTensor values({x.shape[0], spec.k});
  std::vector<int32_t> indices(static_cast<size_t>(values.size()));
  NoStream stream;
  sae.encode(stream, x, values.matrix(), {indices.data(), {x.shape[0], spec.k}});
  std::vector<reference::Selection> selected(static_cast<size_t>(x.shape[0]));
  for (int64_t i = 0; i < values.size(); ++i) {
    const int32_t latent = indices[static_cast<size_t>(i)];
    if (latent >= 0)
      selected[static_cast<size_t>(i / spec.k)].push_back({latent, static_cast<double>(values[i])});
  }
  const SaeGradients actual = sae.gradients_sync(x, SaeStep{});
  const reference::SaeResult wanted = expected.gradients(x, SaeStep{}, &selected);
  return {std::abs(actual.loss / wanted.loss - 1),
          std::max({relative_difference(actual.w, wanted.gradients.w),
                    relative_difference(actual.w_dec, wanted.gradients.w_dec),
                    relative_difference(actual.b_enc, wanted.gradients.b_enc),
                    relative_difference(actual.b_pre, wanted.gradients.b_pre)})};
}

// Best rate of oneDNN's sgemm on the encode's product, GFLOP/s.
double best_sgemm(const Shape3& s, const HostTensor& x, const HostTensor& w, double seconds) {
  HostTensor u({s.batch, s.n});
  double best = 0;
  const double until = now_s() + seconds;
  do {
    const double begin = now_s();
    dnnl_sgemm('N', 'T', s.batch, s.n, s.d, 1.0F, x.data(), s.d, w.data(), s.d, 0.0F, u.data(), s.n);
    best = std::max(best, 2e-9 * static_cast<double>(s.batch * s.n * s.d) / (now_s() - begin));
  } while (now_s() < until);
  return best;
}

double quantile(std::vector<double> sorted, double q) {
  std::sort(sorted.begin(), sorted.end());
  return sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1) + 0.5)];
}

nlohmann::json run_case(const Shape3& shape, const Options& options) {
  SaeSpec spec;
  spec.d = shape.d, spec.n = shape.n, spec.k = options.k, spec.max_batch = shape.batch,
  spec.tied = !options.untied;
  const auto sae = cpu::make_cpu_sae(spec, options.threads);
  const SaeParameters parameters = start(spec);
  sae->load_sync(parameters);
  std::vector<HostTensor> inputs;
  for (uint64_t i = 0; i < 4; ++i) inputs.push_back(tokens(shape.batch, shape.d, options.density, 10 + i));

  const int64_t slice =
      std::clamp<int64_t>(100'000'000 / (shape.n * shape.d), 1, std::min<int64_t>(shape.batch, 64));
  const Check check = check_gradients(*sae, parameters, inputs[0].matrix().rows(0, slice));
  // Single precision: 6e-8 times the square root of the terms of a sum.
  const bool right = check.loss < 1e-5 && check.gradient < 1e-5;
  if (!right)
    throw Error(fmt::format("wrong result: loss off by {}, gradient by {}", check.loss, check.gradient));

  double fma = bench::fma_peak_gflops(options.threads, now_s);
  double sgemm = best_sgemm(shape, inputs[0], parameters.w, options.seconds / 6);
  NoStream stream;
  SaeStep step;
  std::vector<double> times;
  const auto one_step = [&] {
    const HostTensor& x = inputs[static_cast<size_t>(step.adam_step) % inputs.size()];
    const double begin = now_s();
    sae->step(stream, x.matrix(), step);
    ++step.adam_step;
    return now_s() - begin;
  };
  for (int i = 0; i < 3; ++i) one_step();
  cpu::take_step_times(*sae);
  for (const double until = now_s() + options.seconds; now_s() < until || times.size() < 5;)
    times.push_back(one_step());
  const cpu::SaeStepTimes phases = cpu::take_step_times(*sae);
  fma = std::max(fma, bench::fma_peak_gflops(options.threads, now_s));
  sgemm = std::max(sgemm, best_sgemm(shape, inputs[1], parameters.w, options.seconds / 6));

  const auto batch = static_cast<double>(shape.batch);
  const double median = quantile(times, 0.5), least = quantile(times, 0);
  const double gflop = 2e-9 * batch * static_cast<double>(shape.n * shape.d);
  const double per_token = 1e9 / (batch * static_cast<double>(times.size()));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {{"case", "sae_step"},
          {"batch", shape.batch},
          {"d", shape.d},
          {"n", shape.n},
          {"k", options.k},
          {"tied", spec.tied},
          {"density", options.density},
          {"clock", options.cpu_clock ? "cpu" : "wall"},
          {"kernels", sae->description()},
          {"steps", times.size()},
          {"tokens_per_s", batch / median},
          {"tokens_per_s_p10", batch / quantile(times, 0.9)},
          {"tokens_per_s_p90", batch / quantile(times, 0.1)},
          {"tokens_per_s_best", batch / least},
          {"thread_ns_per_token",
           {{"encode_select", phases.encode_select * per_token},
            {"decode_gradient", phases.decode_gradient * per_token},
            {"sort", phases.sort * per_token},
            {"update", phases.update * per_token}}},
          {"fma_gflops", fma},
          {"sgemm_gflops", sgemm},
          {"percent_of_fma_limit", fma > 0 ? 100 * gflop / median / fma : 0.0},
          {"percent_of_sgemm_limit", 100 * gflop / median / sgemm},
          {"best_percent_of_sgemm_limit", 100 * gflop / least / sgemm},
          {"sae_mib", static_cast<double>(sae->memory_bytes()) / (1 << 20)},
          {"peak_process_mib", static_cast<double>(usage.ru_maxrss) / 1024},
          {"loss_difference", check.loss},
          {"gradient_difference", check.gradient}};
}

void print_row(const nlohmann::json& r) {
  const auto& ns = r["thread_ns_per_token"];
  const auto number = [](const nlohmann::json& value) { return value.get<double>(); };
  fmt::print(
      "{:>5}/{}/{:<6} {:>10.0f} {:>10.0f} {:>10.0f} {:>10.0f}  {:>7.1f} {:>7.1f}  {:>8.0f} {:>8.0f} {:>7.0f} "
      "{:>8.0f}  {:>6.0f} {:>6.0f}  {:.1e}\n",
      r["batch"].get<int64_t>(), r["d"].get<int64_t>(), r["n"].get<int64_t>(), number(r["tokens_per_s"]),
      number(r["tokens_per_s_p10"]), number(r["tokens_per_s_p90"]), number(r["tokens_per_s_best"]),
      number(r["percent_of_fma_limit"]), number(r["percent_of_sgemm_limit"]), number(ns["encode_select"]),
      number(ns["decode_gradient"]), number(ns["sort"]), number(ns["update"]), number(r["fma_gflops"]),
      number(r["sgemm_gflops"]), number(r["gradient_difference"]));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Times the training step of the k-sparse autoencoder on the CPU.\n"
      "Example: bench_sae_step --shape 4096,64,1024 --threads 2");
  Options options;
  app.add_option("--shape", options.shapes, "tokens, width, latents: B,d,n (may be repeated)");
  app.add_option("--k", options.k, "latents kept per token")->capture_default_str();
  app.add_option("--threads", options.threads, "0: all processors")->capture_default_str();
  app.add_flag("--untied,!--tied", options.untied, "own decoder weights");
  app.add_flag("--json", options.json, "one JSON line a shape");
  app.add_option("--seconds", options.seconds, "of timed steps a shape")->capture_default_str();
  app.add_option("--density", options.density, "share of input values that are not zero")
      ->capture_default_str();
  app.add_flag("--cpu-clock", options.cpu_clock, "processor time instead of wall time, for a busy machine");
  CLI11_PARSE(app, argc, argv);
  if (options.shapes.empty()) options.shapes = {"4096,64,1024", "4096,128,2048", "2048,528,8448"};
  if (options.threads <= 0) options.threads = omp_get_num_procs();
  omp_set_num_threads(options.threads);
  if (options.cpu_clock) now_s = cpu_s;
  try {
    bool first = true;
    for (const std::string& text : options.shapes) {
      const nlohmann::json result = run_case(parse_shape(text), options);
      if (options.json) {
        fmt::print("{}\n", result.dump());
        continue;
      }
      if (first) {
        fmt::print("{}\n", result["kernels"].get<std::string>());
        fmt::print(
            "    B/d/n          tokens/s        p10        p90       best   %FMA  %sgemm  ns/token of one "
            "thread: encode, decode, sort, update  GFLOP/s FMA, sgemm  gradient error\n");
      }
      first = false;
      print_row(result);
    }
  } catch (const Error& error) {
    fmt::print(stderr, "bench_sae_step: {}\n", error.what());
    return error.exit_code();
  }
  return 0;
}
