// Norms of tokens, and rounding to bf16 with what it changes. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_SAE_ROUND_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_ROUND_INL_H_
#undef BRANCHSAE_CPU_SAE_ROUND_INL_H_
#else
#define BRANCHSAE_CPU_SAE_ROUND_INL_H_
#endif

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

// To the nearest number whose lower half is zero, ties to even. Finite numbers only.
HWY_INLINE VI rounded_bits(V value) {
  const DI di;
  const VI bits = hn::BitCast(di, value);
  const VI odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 1));
  const VI carried = hn::Add(hn::Add(bits, hn::Set(di, 0x7fff)), odd);
  return hn::And(carried, hn::Set(di, static_cast<int32_t>(0xffff0000)));
}

HWY_INLINE V add_square(V value, V sum) {
  return hn::MulAdd(value, value, sum);
}

void round_tokens(const RoundTokens& a) {
  const D d;
  for (int64_t t = 0; t < a.rows; ++t) {
    const float* HWY_RESTRICT x = a.xs + t * a.x_stride;
    auto* HWY_RESTRICT halves = reinterpret_cast<Key*>(a.pairs + t * a.pair_stride);
    V squares = hn::Zero(d), errors = hn::Zero(d);
    for (int64_t j = 0; j < a.d_padded; j += kN) {
      const V x_j = hn::Load(d, x + j);
      squares = add_square(x_j, squares);
      if (a.pairs == nullptr) continue;
      const VI rounded = rounded_bits(x_j);
      errors = add_square(hn::Sub(x_j, hn::BitCast(d, rounded)), errors);
      const hn::Rebind<Key, D> narrow;
      hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<16>(rounded)), narrow, halves + j);
    }
    a.squares[t] = sum_of_lanes(squares);
    if (a.pairs != nullptr) a.errors[t] = sum_of_lanes(errors);
  }
}

void round_panel(const RoundPanel& a) {
  const D d;
  const DI di;
  for (int64_t c = 0; c < kPanel; c += kN) {
    V errors = hn::Zero(d);
    for (int64_t j = 0; j < a.columns; j += 2) {
      const V even = hn::Load(d, a.panel + j * kPanel + c);
      const V odd = j + 1 < a.columns ? hn::Load(d, a.panel + (j + 1) * kPanel + c) : hn::Zero(d);
      const VI low = rounded_bits(even), high = rounded_bits(odd);
      errors = add_square(hn::Sub(even, hn::BitCast(d, low)), errors);
      errors = add_square(hn::Sub(odd, hn::BitCast(d, high)), errors);
      const auto low_half = hn::ShiftRight<16>(hn::BitCast(hn::RebindToUnsigned<DI>(), low));
      hn::Store(hn::Or(high, hn::BitCast(di, low_half)), di,
                reinterpret_cast<int32_t*>(a.pairs) + j / 2 * kPanel + c);
    }
    hn::Store(errors, d, a.errors + c);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
