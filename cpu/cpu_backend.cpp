#include "cpu/cpu_backend.h"

#include <dnnl.h>
#include <fmt/format.h>
#include <omp.h>

#include <atomic>
#include <cstring>
#include <fstream>

#include "cpu/memory.h"
#include "cpu/network/executor.h"
#include "cpu/sae/sae_executor.h"
#include "cpu/threads.h"
#include "engine/error.h"

// Referred to by the link option --undefined, which keeps this file and so the registration in a static link.
extern "C" int branchsae_cpu_backend;
int branchsae_cpu_backend = 1;

namespace branchsae::cpu {
namespace {

constexpr int kMaxThreads = 1024;

/// Work is done when a call returns.
class CpuStream final : public Stream {
 public:
  void synchronize() override {}
};

int checked_threads(int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    throw InputError(fmt::format("threads = {} is outside 0..{} (0: all processors)", threads, kMaxThreads));
  }
  return threads == 0 ? omp_get_num_procs() : threads;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

const char* isa_name() {
  const auto isa = static_cast<unsigned>(dnnl_get_effective_cpu_isa());
  const auto has = [isa](dnnl_cpu_isa_t level) { return (isa & level) == static_cast<unsigned>(level); };
  if (has(dnnl_cpu_isa_avx512_core)) return "AVX-512";
  if (has(dnnl_cpu_isa_avx2)) return "AVX2";
  return has(dnnl_cpu_isa_sse41) ? "SSE4.1" : "generic";
}

void check_same_shape(const char* what, View<const float, 2> src, View<float, 2> dst) {
  if (src.shape[1] == dst.shape[1]) return;
  throw ShapeError(fmt::format("{}: source [{}, {}] and destination [{}, {}] differ in width", what,
                               src.shape[0], src.shape[1], dst.shape[0], dst.shape[1]));
}

void copy_row(View<const float, 2> src, int64_t from, View<float, 2> dst, int64_t to) {
  const float* in = src.row(from);
  float* out = dst.row(to);
  if (src.stride[1] == 1 && dst.stride[1] == 1) {
    std::memcpy(out, in, static_cast<size_t>(src.shape[1]) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < src.shape[1]; ++i) out[i * dst.stride[1]] = in[i * src.stride[1]];
}

}  // namespace

CpuBackend::CpuBackend(int threads) : threads_(checked_threads(threads)) {}

std::string CpuBackend::description() const {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}, {} thread{}, {}, oneDNN {}.{}.{}", processor_name(), threads_,
                     threads_ == 1 ? "" : "s", isa_name(), version->major, version->minor, version->patch);
}

std::unique_ptr<Stream> CpuBackend::make_stream() {
  return std::make_unique<CpuStream>();
}

DeviceMemory CpuBackend::allocate(int64_t size_bytes, std::string_view what) {
  return allocate_host(size_bytes, what);
}

void CpuBackend::copy_to_device(Stream&, void* dst, const void* src, int64_t size_bytes) {
  if (size_bytes > 0) std::memcpy(dst, src, static_cast<size_t>(size_bytes));
}

void CpuBackend::copy_to_host(Stream&, void* dst, const void* src, int64_t size_bytes) {
  if (size_bytes > 0) std::memcpy(dst, src, static_cast<size_t>(size_bytes));
}

void CpuBackend::gather_rows(Stream&, View<const float, 2> src, View<const int32_t, 1> rows,
                             View<float, 2> dst) {
  check_same_shape("gather_rows", src, dst);
  if (rows.shape[0] != dst.shape[0]) {
    throw ShapeError(
        fmt::format("gather_rows: {} row indices for a destination of {} rows", rows.shape[0], dst.shape[0]));
  }
  const ThreadScope scope(threads_);
  std::atomic<int64_t> outside{-1};
  parallel_for(dst.shape[0], [&](int64_t i) {
    const int64_t row = rows(i);
    if (row < 0 || row >= src.shape[0]) {
      outside = i;
      return;
    }
    copy_row(src, row, dst, i);
  });
  if (outside >= 0) {
    throw ShapeError(fmt::format("gather_rows: index {} at position {} is outside the source's {} rows",
                                 rows(outside), outside.load(), src.shape[0]));
  }
}

void CpuBackend::copy_rows(Stream&, View<const float, 2> src, View<float, 2> dst) {
  check_same_shape("copy_rows", src, dst);
  if (src.shape[0] != dst.shape[0]) {
    throw ShapeError(
        fmt::format("copy_rows: source has {} rows, destination {}", src.shape[0], dst.shape[0]));
  }
  const ThreadScope scope(threads_);
  parallel_for(src.shape[0], [&](int64_t i) { copy_row(src, i, dst, i); });
}

std::unique_ptr<NetworkExecutor> CpuBackend::make_network(const Graph& graph, const NetworkOptions& options) {
  return cpu::make_network(graph, options, threads_);
}

std::unique_ptr<SaeExecutor> CpuBackend::make_sae(const SaeSpec& spec) {
  return make_cpu_sae(spec, threads_);
}

namespace {

const bool kRegistered = [] {
  register_backend({.kind = "cpu",
                    .unavailable = [] { return std::string(); },
                    .make = [](int index, int threads) -> std::unique_ptr<Backend> {
                      if (index != 0)
                        throw InputError(fmt::format("there is one CPU device, cpu; not cpu:{}", index));
                      return std::make_unique<CpuBackend>(threads);
                    }});
  return true;
}();

}  // namespace
}  // namespace branchsae::cpu
