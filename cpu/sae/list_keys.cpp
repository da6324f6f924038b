// Positions of large keys. Written with intrinsics: the vector library of the other kernels does not know the
// instruction that moves wanted 16-bit numbers together.
#include <algorithm>
#include <bit>

#include "cpu/sae/kernel_tables.h"
#include "cpu/sae/layout.h"

#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own header
#include <immintrin.h>
#pragma GCC diagnostic pop
#define BRANCHSAE_VBMI2 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")))
#endif

namespace branchsae::cpu {

#ifdef BRANCHSAE_VBMI2
namespace {

BRANCHSAE_VBMI2 int64_t list_keys(const ListKeys& a) {
  constexpr int64_t kKeys = 32;
  alignas(64) static constexpr uint16_t kNumbers[kKeys] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                           11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                           22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  alignas(64) uint16_t found[kChunk + kKeys];
  const __m512i below = _mm512_set1_epi16(a.below), step = _mm512_set1_epi16(kKeys);
  __m512i numbers = _mm512_load_si512(kNumbers);
  int64_t count = 0;
  for (int64_t c = 0; c < a.columns; c += kKeys) {
    const __mmask32 wanted = _mm512_cmpgt_epi16_mask(_mm512_load_si512(a.keys + c), below);
    const __m512i packed = _mm512_maskz_compress_epi16(wanted, numbers);
    const int many = std::popcount(wanted);
    // Few, as a rule; a whole vector costs several times as much where it crosses lines.
    _mm_storeu_si128(reinterpret_cast<__m128i*>(found + count), _mm512_castsi512_si128(packed));
    if (many > 8) _mm512_storeu_si512(found + count, packed);
    count += many;
    numbers = _mm512_add_epi16(numbers, step);
  }
  const __m512i first = _mm512_set1_epi32(static_cast<int32_t>(a.first_position));
  constexpr __mmask16 kAll = 0xffff;
  for (int64_t i = 0; i < count; i += 16) {
    const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(found + i));
    _mm512_storeu_si512(a.positions + i,
                        _mm512_maskz_add_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, half), first));
  }
  return count;
}

}  // namespace

ListKeysKernel vbmi2_list_keys() {
  const bool able = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512vbmi2");
  return able ? list_keys : nullptr;
}

#else

ListKeysKernel vbmi2_list_keys() {
  return nullptr;
}

#endif

}  // namespace branchsae::cpu
