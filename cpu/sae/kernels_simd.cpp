// The vector kernels, compiled for every instruction set that pays: Highway includes this file once for each.
#include <hwy/detect_targets.h>
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/sae/kernels_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "cpu/sae/kernel_tables.h"

// Highway's emulation without vectors is slower than the plain kernels.
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#include "cpu/sae/decode-inl.h"
#include "cpu/sae/encode-inl.h"
#include "cpu/sae/fixed-inl.h"
#include "cpu/sae/learn-inl.h"
#include "cpu/sae/round-inl.h"
#include "cpu/sae/score-inl.h"
#include "cpu/sae/select-inl.h"
#include "cpu/sae/simd-inl.h"
#include "cpu/sae/update-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

const SaeKernels& table() {
  constexpr Isa kIsa = kN == 16 ? Isa::kAvx512 : kN == 8 ? Isa::kAvx2 : Isa::kSimd128;
  static const SaeKernels kernels{.isa = kIsa,
                                  .load_tile = load_tile,
                                  .list_nonzeros = list_nonzeros,
                                  .shift_bias = shift_bias,
                                  .round_tokens = round_tokens,
                                  .round_panel = round_panel,
                                  .encode_chunk = encode_chunk,
                                  .encode_pairs = nullptr,
                                  .encode_fixed = encode_fixed,
                                  .fix_panel = fix_panel,
                                  .fix_tokens = fix_tokens,
                                  .list_keys = nullptr,
                                  .select_chunk = select_chunk,
                                  .select_all = select_all,
                                  .decode_token = decode_token,
                                  .scatter_token = scatter_token,
                                  .learn_tile = kN == 16 ? learn_tile : nullptr,
                                  .add_pairs = add_pairs,
                                  .sum_partials = sum_partials,
                                  .move_sums = move_sums,
                                  .add_scaled = add_scaled,
                                  .update_weights = update_weights,
                                  .update_rows = update_rows,
                                  .pack_panel = pack_panel};
  return kernels;
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace branchsae::cpu {

const SaeKernels* vector_kernels(Isa isa) {
  const auto supported = hwy::SupportedTargets();
  (void)supported;
  if (isa == Isa::kAvx512Bf16) return bf16_kernels();
#if HWY_TARGETS & HWY_AVX3
  if (isa == Isa::kAvx512 && (supported & HWY_AVX3) != 0) return &N_AVX3::table();
#endif
#if HWY_TARGETS & HWY_AVX2
  if (isa == Isa::kAvx2 && (supported & HWY_AVX2) != 0) return &N_AVX2::table();
#endif
#if HWY_TARGETS & HWY_NEON
  if (isa == Isa::kSimd128 && (supported & HWY_NEON) != 0) return &N_NEON::table();
#endif
  return nullptr;
}

}  // namespace branchsae::cpu
#endif
