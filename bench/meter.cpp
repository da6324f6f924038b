#include "bench/meter.h"

#include <dnnl.h>
#include <fmt/format.h>
#include <omp.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>

#include "cuda/bench/measure.h"
#include "engine/error.h"
#include "engine/random.h"

namespace branchsae::bench {
namespace {

constexpr int kDeviceRuns = 8;
// Twice the largest cache there is: 60 MB on an H200, some 100 on servers' processors.
constexpr int64_t kBeyondCaches = int64_t{200} << 20;

/// Processor time of all threads, as if they ran at once: what work would take on a machine with nothing else
/// to do, but for cache and clock effects. Threads that wait for one another spin, so only one thread is
/// measured exactly.
double cpu_s() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec)) /
         omp_get_max_threads();
}

std::vector<float> random_numbers(int64_t count, uint64_t seed) {
  std::vector<float> numbers(static_cast<size_t>(count));
  Random random(seed, 0);
  for (float& number : numbers) number = static_cast<float>(2 * random.uniform() - 1);
  return numbers;
}

/// Best rate of `amount` per call of `work`.
double best_rate(double (*now)(), double seconds, double amount, const std::function<void()>& work) {
  work();
  double best = 0;
  const double until = now() + seconds;
  do {
    const double begin = now();
    work();
    best = std::max(best, amount / (now() - begin));
  } while (now() < until);
  return best;
}

}  // namespace

void add_meter_options(CLI::App& app, MeterOptions& options) {
  app.add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", options.threads, "of the host; 0: all processors")->check(CLI::Range(0, 1024));
  app.add_option("--seconds", options.seconds, "about how long each case runs")->check(CLI::PositiveNumber);
  app.add_flag("--cpu-clock", options.cpu_clock,
               "processor time instead of wall time, on one thread: for busy machines");
  app.add_flag("--json", options.json, "one JSON line a case");
}

Meter::Meter(const MeterOptions& options)
    : options_(options),
      device_(Device::open(options.device, options.cpu_clock && options.threads == 0 ? 1 : options.threads)),
      stream_(device_.make_stream()),
      clock_(options.cpu_clock ? cpu_s : wall_s) {
  if (options.cpu_clock && !on_host())
    throw InputError("--cpu-clock measures processors; use it with --device cpu");
  omp_set_num_threads(device_.backend().threads());
}

std::vector<double> Meter::round(int64_t& run, const std::function<void(int64_t run)>& work) const {
  if (!on_host()) {
    const int64_t first = run;
    run += kDeviceRuns;
    return cuda::time_runs(*stream_, first, kDeviceRuns, work);
  }
  const double begin = now_s();
  work(run++);
  stream_->synchronize();
  return {now_s() - begin};
}

std::vector<double> Meter::time(const std::function<void(int64_t run)>& work) const {
  int64_t run = 0;
  for (int i = 0; i < 3; ++i) round(run, work);
  std::vector<double> seconds;
  for (const double until = now_s() + options_.seconds; now_s() < until || seconds.size() < 5;) {
    const std::vector<double> more = round(run, work);
    seconds.insert(seconds.end(), more.begin(), more.end());
  }
  return seconds;
}

double Meter::gemm_flops(SaePrecision precision, int64_t m, int64_t n, int64_t k, double seconds) const {
  if (!on_host()) return cuda::gemm_flops(*stream_, precision, m, n, k, seconds);
  const std::vector<float> a = random_numbers(m * k, 1), b = random_numbers(n * k, 2);
  std::vector<float> c(static_cast<size_t>(m * n));
  return best_rate(clock_, seconds, 2.0 * static_cast<double>(m) * static_cast<double>(n * k),
                   [&] { dnnl_sgemm('N', 'T', m, n, k, 1.0F, a.data(), k, b.data(), k, 0.0F, c.data(), n); });
}

double Meter::copy_bytes_per_second(double seconds) const {
  if (!on_host()) return cuda::copy_bytes_per_second(*stream_, seconds);
  constexpr int64_t kPiece = int64_t{1} << 20, kPieces = kBeyondCaches / kPiece;
  const std::vector<char> from(static_cast<size_t>(kBeyondCaches), 1);
  std::vector<char> to(static_cast<size_t>(kBeyondCaches));
  return best_rate(clock_, seconds, 2.0 * static_cast<double>(kBeyondCaches), [&] {
#pragma omp parallel for schedule(static)
    for (int64_t piece = 0; piece < kPieces; ++piece) {
      std::memcpy(to.data() + piece * kPiece, from.data() + piece * kPiece, static_cast<size_t>(kPiece));
    }
  });
}

int64_t Meter::rotated(int64_t input_bytes) const {
  if (on_host()) return 4;
  return std::clamp<int64_t>(kBeyondCaches / std::max<int64_t>(input_bytes, 1) + 1, 2, 64);
}

double wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

nlohmann::json time_fields(const std::vector<double>& seconds) {
  return {{"runs", seconds.size()},
          {"ms_median", 1e3 * quantile(seconds, 0.5)},
          {"ms_p10", 1e3 * quantile(seconds, 0.1)},
          {"ms_p90", 1e3 * quantile(seconds, 0.9)},
          {"ms_best", 1e3 * quantile(seconds, 0)}};
}

nlohmann::json device_fields(const Meter& meter) {
  const Backend& backend = meter.device().backend();
  nlohmann::json fields{{"device", backend.description()},
                        {"clock", !meter.on_host()            ? "events"
                                  : meter.options().cpu_clock ? "cpu"
                                                              : "wall"}};
  if (meter.on_host()) fields["threads"] = backend.threads();
  return fields;
}

int run_bench(const char* name, const std::function<void()>& body) {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return error.exit_code();
  }
}

}  // namespace branchsae::bench
