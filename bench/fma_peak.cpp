#include "bench/fma_peak.h"

#include <algorithm>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace branchsae::bench {
namespace {

#if defined(__x86_64__)
constexpr int64_t kRounds = 400'000;
constexpr int kSums = 12;  // more than latency times units, so that only throughput counts

// Inputs the compiler does not know, results it has to keep.
__attribute__((target("avx512f"))) void multiply_512(float seed, float* sink) {
  __m512 sums[kSums], a = _mm512_set1_ps(seed), b = _mm512_set1_ps(seed * 0.5F);
  for (__m512& sum : sums) sum = a;
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm512_fmadd_ps(a, b, sums[s]);
  }
  float lanes[16];
  for (const __m512& sum : sums) {
    _mm512_storeu_ps(lanes, sum);
    *sink += lanes[0];
  }
}

__attribute__((target("avx2,fma"))) void multiply_256(float seed, float* sink) {
  __m256 sums[kSums], a = _mm256_set1_ps(seed), b = _mm256_set1_ps(seed * 0.5F);
  for (__m256& sum : sums) sum = a;
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm256_fmadd_ps(a, b, sums[s]);
  }
  float lanes[8];
  for (const __m256& sum : sums) {
    _mm256_storeu_ps(lanes, sum);
    *sink += lanes[0];
  }
}
#endif

}  // namespace

double fma_peak_gflops(int threads, double (*now_s)()) {
#if defined(__x86_64__)
  const bool wide = __builtin_cpu_supports("avx512f") != 0;
  if (!wide && __builtin_cpu_supports("fma") == 0) return 0;
  double best = 0;
  for (int trial = 0; trial < 5; ++trial) {
    float total = 0;
    const double start = now_s();
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
      float sink = 0;
      wide ? multiply_512(1e-3F, &sink) : multiply_256(1e-3F, &sink);
      total += sink;
    }
    const double elapsed = now_s() - start;
    const double flop = 2.0 * (wide ? 16 : 8) * kSums * kRounds * threads;
    if (total != 0) best = std::max(best, flop / elapsed * 1e-9);
  }
  return best;
#else
  (void)threads;
  (void)now_s;
  return 0;
#endif
}

}  // namespace branchsae::bench
