#pragma once
/// Autoencoders and tokens for the tests of the CPU kernels.
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "cpu/sae/isa.h"
#include "cpu/sae/sae_executor.h"
#include "engine/random.h"
#include "tests/reference/sae.h"

namespace branchsae::test {

/// Streams of the CPU run at once.
class NoStream final : public Stream {
 public:
  void synchronize() override {}
};

/// Sets BRANCHSAE_SIMD while it lives.
class SimdScope {
 public:
  explicit SimdScope(cpu::Isa isa) { setenv("BRANCHSAE_SIMD", std::string(cpu::isa_name(isa)).c_str(), 1); }
  ~SimdScope() { unsetenv("BRANCHSAE_SIMD"); }
  SimdScope(const SimdScope&) = delete;
  SimdScope& operator=(const SimdScope&) = delete;
};

/// The levels that this build and processor have.
inline std::vector<cpu::Isa> isa_levels() {
  std::vector<cpu::Isa> levels;
  for (const cpu::Isa isa : {cpu::Isa::kScalar, cpu::Isa::kSimd128, cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    const SimdScope scope(isa);
    if (cpu::choose_isa() == isa) levels.push_back(isa);
  }
  return levels;
}

inline HostTensor normal_tensor(Shape shape, double deviation, uint64_t seed) {
  HostTensor tensor(std::move(shape));
  Random random(seed, 1);
  for (float& value : tensor.values()) value = static_cast<float>(random.normal() * deviation);
  return tensor;
}

/// Integers in [-most, most]: with few columns all sums are exact in single precision.
inline HostTensor integer_tensor(Shape shape, int most, uint64_t seed) {
  HostTensor tensor(std::move(shape));
  Random random(seed, 2);
  for (float& value : tensor.values())
    value = static_cast<float>(static_cast<int>(random.below(static_cast<uint64_t>(2 * most + 1))) - most);
  return tensor;
}

/// Rows of norm about 0.5, small biases, a scale that is not 1.
inline SaeParameters random_parameters(const SaeSpec& spec, uint64_t seed) {
  SaeParameters p;
  const double deviation = 0.5 / std::sqrt(static_cast<double>(spec.d));
  p.w = normal_tensor({spec.n, spec.d}, deviation, seed);
  if (!spec.tied) p.w_dec = normal_tensor({spec.n, spec.d}, deviation, seed + 100);
  p.b_enc = normal_tensor({spec.n}, 0.05, seed + 200);
  p.b_pre = normal_tensor({spec.d}, 0.3, seed + 300);
  p.scale = 1.25F;
  return p;
}

inline std::unique_ptr<SaeExecutor> make_loaded(const SaeSpec& spec, const SaeParameters& parameters,
                                                int threads) {
  auto sae = cpu::make_cpu_sae(spec, threads);
  sae->load_sync(parameters);
  return sae;
}

/// |a - b| / |b|, 0 when both are zero.
template <class A, class B>
double relative_difference(const A& a, const B& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

/// encode() as lists.
inline std::vector<reference::Selection> encode_lists(SaeExecutor& sae, View<const float, 2> tokens,
                                                      int64_t k) {
  HostTensor values({tokens.shape[0], k});
  std::vector<int32_t> indices(static_cast<size_t>(values.size()));
  NoStream stream;
  sae.encode(stream, tokens, values.matrix(), {indices.data(), {tokens.shape[0], k}});
  std::vector<reference::Selection> lists(static_cast<size_t>(tokens.shape[0]));
  for (int64_t t = 0; t < tokens.shape[0]; ++t) {
    for (int64_t i = 0; i < k; ++i) {
      const int32_t index = indices[static_cast<size_t>(t * k + i)];
      if (index >= 0)
        lists[static_cast<size_t>(t)].push_back({index, static_cast<double>(values[t * k + i])});
    }
  }
  return lists;
}

}  // namespace branchsae::test
