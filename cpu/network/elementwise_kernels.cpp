#include "cpu/network/elementwise_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/network/elementwise_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target: these depend on the target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// step(tag, i) over whole vectors, then over what is left one float at a time.
template <class Step>
void over_run(int64_t count, const Step& step) {
  const hn::CappedTag<float, 16> d;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) step(d, i);
  for (; i < count; ++i) step(one, i);
}

void AffineRun(const float* src, float* dst, int64_t count, const float* scale, const float* shift) {
  over_run(count, [=](auto d, int64_t i) HWY_ATTR {
    const auto factor = hn::LoadU(d, scale + i % 16), term = hn::LoadU(d, shift + i % 16);
    hn::StoreU(hn::MulAdd(factor, hn::LoadU(d, src + i), term), d, dst + i);
  });
}

void ReluRun(const float* src, float* dst, int64_t count) {
  over_run(count, [=](auto d, int64_t i)
                      HWY_ATTR { hn::StoreU(hn::Max(hn::LoadU(d, src + i), hn::Zero(d)), d, dst + i); });
}

void ClipRun(const float* src, float* dst, int64_t count, float low, float high) {
  over_run(count, [=](auto d, int64_t i) HWY_ATTR {
    const auto raised = hn::Max(hn::LoadU(d, src + i), hn::Set(d, low));
    hn::StoreU(hn::Min(raised, hn::Set(d, high)), d, dst + i);
  });
}

template <class Combine>
void combine_run(const float* left, const float* right, float* dst, int64_t count, const Combine& combine) {
  over_run(count, [=](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(combine(hn::LoadU(d, left + i), hn::LoadU(d, right + i)), d, dst + i);
  });
}

void BinaryRun(BinaryOp::Kind kind, const float* left, const float* right, float* dst, int64_t count) {
  const auto run = [=](const auto& combine) { combine_run(left, right, dst, count, combine); };
  switch (kind) {
    case BinaryOp::Kind::kAdd:
      return run([](auto a, auto b) HWY_ATTR { return hn::Add(a, b); });
    case BinaryOp::Kind::kSub:
      return run([](auto a, auto b) HWY_ATTR { return hn::Sub(a, b); });
    case BinaryOp::Kind::kMul:
      return run([](auto a, auto b) HWY_ATTR { return hn::Mul(a, b); });
    case BinaryOp::Kind::kDiv:
      return run([](auto a, auto b) HWY_ATTR { return hn::Div(a, b); });
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace branchsae::cpu {

HWY_EXPORT(AffineRun);
HWY_EXPORT(ReluRun);
HWY_EXPORT(ClipRun);
HWY_EXPORT(BinaryRun);

void affine_run(const float* src, float* dst, int64_t count, const float* scale, const float* shift) {
  HWY_DYNAMIC_DISPATCH(AffineRun)(src, dst, count, scale, shift);
}
void relu_run(const float* src, float* dst, int64_t count) {
  HWY_DYNAMIC_DISPATCH(ReluRun)(src, dst, count);
}
void clip_run(const float* src, float* dst, int64_t count, float low, float high) {
  HWY_DYNAMIC_DISPATCH(ClipRun)(src, dst, count, low, high);
}
void binary_run(BinaryOp::Kind kind, const float* left, const float* right, float* dst, int64_t count) {
  HWY_DYNAMIC_DISPATCH(BinaryRun)(kind, left, right, dst, count);
}

}  // namespace branchsae::cpu
#endif
