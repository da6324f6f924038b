#pragma once
/// An autoencoder in device memory for tests of the kernels from decode_grad to finish_step, with batches and
/// selections made on the host.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cuda/sae/gradient_plan.h"
#include "cuda/sae/sae_desc.h"
#include "tests/cuda/kernel_test.h"

namespace branchsae::cuda::test {

/// The nearest bf16, ties to even; as float and as bits.
float round_bf16(float value);
uint16_t bf16_bits(float value);
float from_bf16(uint16_t bits);

struct GradientCase {
  int32_t d = 48, n = 96, k = 32, rows = 70, max_batch = 96;
  bool tied = true, unit_norm = false;
  int32_t aux_k = 0;
  Precision precision = Precision::kF32;
  GradientOptions options = {};
};

/// Slots of every row, as encode_topk leaves them.
struct HostSlots {
  std::vector<int32_t> indices;
  std::vector<float> values;
};

/// A batch and what the kernels read of the autoencoder, without padding.
struct GradientData {
  std::vector<float> x;         ///< [rows, d] centred
  std::vector<float> w, w_dec;  ///< [n, d]; w_dec empty when tied
  std::vector<float> b_enc, b_pre;
  HostSlots main, aux;
  int32_t dead_count = 0;
  SaeBatch batch = {};  ///< rows and pointers are set when it is uploaded

  const std::vector<float>& decoder() const { return w_dec.empty() ? w : w_dec; }
};

/// Small integers: every sum is exact in float32. Each slot is used with probability `used`.
GradientData integer_data(const GradientCase& c, uint64_t seed, double used = 0.9);
/// `k` distinct latents below `n` a row, in ascending order, some slots unused; values 1 or 2.
HostSlots random_slots(int64_t rows, int32_t k, int32_t n, double used, uint64_t seed);

class DeviceGradient {
 public:
  DeviceGradient(const GradientCase& c, const GradientData& data);

  /// Another batch for the same parameters.
  void upload_batch(const GradientData& data);

  /// In place of decode().
  void set_pair_gradients(const std::vector<float>& g, const std::vector<float>& aux_g);

  void decode();
  void check();
  void sort();
  void dw();
  void adam();
  void finish();
  /// All of them, in order.
  void step();
  /// decode, check, sort, dw and the raw gradients.
  struct Gradients {
    std::vector<float> w, w_dec, b_enc, b_pre;
  };
  Gradients gradients();

  template <class T>
  std::vector<T> read(const T* from, int64_t count) const {
    std::vector<T> values(static_cast<std::size_t>(count));
    copy_back(values.data(), from, count * static_cast<int64_t>(sizeof(T)));
    return values;
  }
  /// Without padding.
  std::vector<float> read_rows(const float* from, int64_t rows) const;
  /// [d] of one row of ex; half 0: e, 1: xc.
  std::vector<float> read_ex(int64_t row, int half) const;
  SaeState state() const { return read(sae.state, 1).front(); }
  void set_state(const SaeState& state) { state_.upload({state}); }

  void set_last_fired(const std::vector<int64_t>& last_fired) { last_fired_.upload(last_fired); }

  SaeDesc sae = {};

 private:
  struct Work {
    Buffer<WorkItem> items;
    WorkList list() const { return {items.data(), static_cast<int32_t>(items.size())}; }
  };
  static Work upload(const std::vector<WorkItem>& items);
  void copy_back(void* to, const void* from, int64_t bytes) const;
  float* keep(std::vector<float> values);
  float* keep_rows(const std::vector<float>& rows, int64_t count);
  Bf16* keep_rows_16(const std::vector<float>& rows, int64_t count);
  void upload_x(const GradientData& data);

  GradientCase case_;
  std::vector<std::unique_ptr<Buffer<float>>> floats_;
  std::vector<std::unique_ptr<Buffer<uint16_t>>> halves_;
  Buffer<SaeState> state_;
  Buffer<SaeBatch> batch_;
  Buffer<int64_t> last_fired_;
  std::unique_ptr<Buffer<int32_t>> indices_, aux_indices_;
  std::unique_ptr<Buffer<float>> values_, aux_values_;
  std::unique_ptr<Buffer<float>> x_;
  std::unique_ptr<Buffer<uint16_t>> x16_;
  std::unique_ptr<Buffer<float>> token_sums_;
  std::unique_ptr<Buffer<double>> squares_;
  std::unique_ptr<Buffer<char>> workspace_;
  std::unique_ptr<Buffer<SaeDesc>> device_;
};

/// What the kernels should give, in double; e is rounded as in ex where dW uses it.
struct ExpectedGradient {
  std::vector<double> e, aux_e;  ///< [rows, d]
  std::vector<double> g, aux_g;  ///< [rows, k], 0 in unused slots
  std::vector<double> w, w_dec, b_enc, b_pre;
  double squared_error = 0, aux_error = 0;
  int64_t active = 0;
};
ExpectedGradient expected_gradient(const GradientCase& c, const GradientData& data);

}  // namespace branchsae::cuda::test
