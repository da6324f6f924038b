#pragma once
/// What every benchmark does alike on every device: the options, the device, the clock, the device's own
/// limits.
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/device.h"

namespace CLI {
class App;
}  // namespace CLI

namespace branchsae::bench {

struct MeterOptions {
  std::string device = "cpu";
  int threads = 0;
  double seconds = 3;
  bool cpu_clock = false, json = false;
};
/// --device, --threads, --seconds, --cpu-clock, --json.
void add_meter_options(CLI::App& app, MeterOptions& options);

/// Opens the device, times work on it, and measures what it can do at most: arithmetic by the vendor's matrix
/// product, memory by copies. Times are those of the wall clock or of processors on the host, of events on a
/// GPU.
class Meter {
 public:
  /// Throws DeviceError when the device cannot be used, InputError when the options do not go together.
  explicit Meter(const MeterOptions& options);

  const Device& device() const { return device_; }
  Stream& stream() const { return *stream_; }
  const MeterOptions& options() const { return options_; }
  bool on_host() const { return device_.backend().is_host(); }
  double now_s() const { return clock_(); }
  using Clock = double (*)();
  Clock clock() const { return clock_; }

  /// Seconds of a few calls of `work`, which enqueues on stream(): one on the host, several at once on a GPU.
  /// `run` counts the calls, so that work can rotate its inputs.
  std::vector<double> round(int64_t& run, const std::function<void(int64_t run)>& work) const;
  /// Rounds until options().seconds are over, at least five calls, after three to warm up.
  std::vector<double> time(const std::function<void(int64_t run)>& work) const;
  /// Of [m, k] x [n, k]^T, in FLOP/s.
  double gemm_flops(SaePrecision precision, int64_t m, int64_t n, int64_t k, double seconds) const;
  /// Bytes read and written.
  double copy_bytes_per_second(double seconds) const;
  /// How many inputs of this size are needed so that none is still in a cache when it comes again.
  int64_t rotated(int64_t input_bytes) const;

  /// A copy in the device's memory. Blocking.
  template <class T>
  DeviceBuffer<T> upload(const T* values, int64_t count) const {
    DeviceBuffer<T> buffer = device_.backend().buffer<T>(count, "benchmark's input");
    device_.backend().copy_to_device(*stream_, buffer.data(), values,
                                     count * static_cast<int64_t>(sizeof(T)));
    stream_->synchronize();
    return buffer;
  }
  template <class T>
  std::vector<T> download(const T* values, int64_t count) const {
    std::vector<T> host(static_cast<size_t>(count));
    device_.backend().copy_to_host(*stream_, host.data(), values, count * static_cast<int64_t>(sizeof(T)));
    stream_->synchronize();
    return host;
  }

 private:
  MeterOptions options_;
  Device device_;
  std::unique_ptr<Stream> stream_;
  Clock clock_;
};

double wall_s();
/// 0..1; `values` need not be sorted.
double quantile(std::vector<double> values, double q);
/// {"runs", "ms_median", "ms_p10", "ms_p90", "ms_best"}
nlohmann::json time_fields(const std::vector<double>& seconds);
/// {"device", "clock"}, and "threads" on the host.
nlohmann::json device_fields(const Meter& meter);

/// Runs a benchmark's body; errors become one line "NAME: ...", the exit code is theirs.
int run_bench(const char* name, const std::function<void()>& body);

}  // namespace branchsae::bench
