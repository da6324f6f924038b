#pragma once
/// Autoencoders in device memory for tests of the encode: as much of them as it reads.
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cuda/sae/encode_topk.h"
#include "tests/cuda/kernel_test.h"
#include "tests/reference/sae.h"

namespace branchsae::cuda::test {

struct EncodeCase {
  int32_t d = 48, n = 200, k = 32, rows = 40;
  Precision precision = Precision::kF32;
  int32_t aux_k = 0;
  int32_t splits = 0;  ///< 0: as planned
};
std::string name(const EncodeCase& c);

/// Without padding; rounded to what the precision reads.
struct EncodeData {
  std::vector<float> x;       ///< [rows, d]
  std::vector<float> w;       ///< [n, d]
  std::vector<float> b_enc;   ///< [n]
  std::vector<int32_t> dead;  ///< ascending

  /// In double precision.
  std::vector<double> pre_activations(const EncodeCase& c, int64_t row) const;
};

/// Small integers: every sum is exact in float32, ties are frequent.
EncodeData integer_data(const EncodeCase& c, uint64_t seed);
/// Normal numbers, rounded as `precision` reads them.
EncodeData real_data(const EncodeCase& c, uint64_t seed);
/// Row t's pre-activations are u[t * n ...]: row t is the t-th unit vector. Needs rows <= d.
EncodeData given_pre_activations(const EncodeCase& c, const std::vector<float>& u);

/// Selections as the kernels leave them.
struct Selected {
  std::vector<float> values;
  std::vector<int32_t> indices;
  uint32_t flags = 0;
};
/// Equal bit for bit.
void check_equal(const Selected& selected, const Selected& wanted);
/// What the reference selects of exact pre-activations; `dead` restricts it to data.dead.
Selected expected(const EncodeCase& c, const EncodeData& data, int32_t k, bool dead = false);

class DeviceEncode {
 public:
  DeviceEncode(const EncodeCase& c, const EncodeData& data);

  /// The step's own selection.
  Selected encode();
  /// Over the dead latents.
  Selected encode_dead();
  /// With another k, into other memory.
  Selected encode_with(int32_t k);
  Selected read(const float* values, const int32_t* indices, int32_t k) const;

  SaeDesc sae = {};

 private:
  void run(const EncodeVariant& variant, const EncodeTarget& target);
  template <class T>
  T* keep(const std::vector<T>& values);
  template <class T>
  T* reserve(int64_t count);

  EncodeCase case_;
  std::vector<Buffer<std::byte>> memory_;
};

/// In every order of threads and blocks.
template <class Body>
Selected selected_in_every_order(Body body) {
  auto [values, indices, flags] = in_every_order([&] {
    const Selected selected = body();
    return std::tuple{selected.values, selected.indices, std::vector<uint32_t>{selected.flags}};
  });
  return {std::move(values), std::move(indices), flags[0]};
}

/// Work lists of several autoencoders in device memory, and one launch for all.
void encode_together(const std::vector<DeviceEncode*>& saes);

}  // namespace branchsae::cuda::test
