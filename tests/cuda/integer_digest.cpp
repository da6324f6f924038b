/// Digests of everything an autoencoder computes, printed for comparison: scripts/gpu_check.sh runs this
/// source on a GPU and in the emulator, and the bits must be the same. Inputs of the 16-bit and TF32 cases
/// are small whole numbers, so that the tensor cores' sums are exact in any order; all other sums have a
/// fixed order and no product is contracted, so that the float32 cases take real numbers and several steps.
#include <doctest/doctest.h>

#include <cstdio>
#include <set>

#include "engine/device.h"
#include "engine/files.h"
#include "engine/random.h"
#include "tests/cuda/kernel_test.h"

using namespace branchsae;

namespace {

struct Case {
  int64_t d, n, k, batch;
  SaePrecision precision = SaePrecision::kBf16;
  bool tied = true, unit_norm = false;
  int64_t aux_k = 0;
};

std::string name_of(const Case& c) {
  const char* precision = c.precision == SaePrecision::kBf16   ? "bf16"
                          : c.precision == SaePrecision::kTf32 ? "tf32"
                                                               : "fp32";
  return std::string(precision) + " " + std::to_string(c.batch) + "/" + std::to_string(c.d) + "/" +
         std::to_string(c.n) + " k " + std::to_string(c.k) + (c.tied ? "" : " untied") +
         (c.unit_norm ? " unit norm" : "") + (c.aux_k > 0 ? " aux " + std::to_string(c.aux_k) : "");
}

bool whole_numbers(const Case& c) {
  return c.precision != SaePrecision::kF32;
}

/// Whole numbers from -2 to 2, or normal ones.
HostTensor numbers(const Shape& shape, bool whole, float scale, uint64_t seed) {
  HostTensor tensor(shape);
  Random random(seed, 0);
  for (float& value : tensor.values()) {
    value = whole ? static_cast<float>(random.below(5)) - 2.0F : scale * static_cast<float>(random.normal());
  }
  return tensor;
}

SaeParameters parameters(const Case& c) {
  const bool whole = whole_numbers(c);
  SaeParameters p;
  p.w = numbers({c.n, c.d}, whole, 0.1F, 1);
  if (!c.tied) p.w_dec = numbers({c.n, c.d}, whole, 0.1F, 2);
  p.b_enc = numbers({c.n}, whole, 0.1F, 3);
  p.b_pre = numbers({c.d}, whole, 0.1F, 4);
  return p;
}

/// Every third latent has not fired for long.
SaeOptimizerState optimizer(const Case& c) {
  SaeOptimizerState s;
  s.m_w = HostTensor({c.n, c.d}), s.v_w = HostTensor({c.n, c.d});
  if (!c.tied) s.m_w_dec = HostTensor({c.n, c.d}), s.v_w_dec = HostTensor({c.n, c.d});
  s.m_b_enc = HostTensor({c.n}), s.v_b_enc = HostTensor({c.n});
  s.m_b_pre = HostTensor({c.d}), s.v_b_pre = HostTensor({c.d});
  s.tokens_seen = 10'000;
  for (int64_t i = 0; i < c.n; ++i) s.last_fired.push_back(i % 3 == 0 ? 0 : 9'999);
  return s;
}

/// Names and bytes of one case's results, digested as they come.
class Digests {
 public:
  explicit Digests(const Case& c) : case_(name_of(c)) {}
  template <class T>
  void add(const char* what, const T* values, int64_t count) {
    const auto* bytes = reinterpret_cast<const char*>(values);
    const std::string digest = sha256_of({bytes, static_cast<std::size_t>(count) * sizeof(T)});
    found_.emplace_back(case_ + ": " + what, digest);
  }
  void add(const char* what, const HostTensor& tensor) {
    if (!tensor.empty()) add(what, tensor.data(), tensor.size());
  }
  const std::vector<std::pair<std::string, std::string>>& found() const { return found_; }

 private:
  std::string case_;
  std::vector<std::pair<std::string, std::string>> found_;
};

/// An autoencoder, its tokens and room for its results on the device.
class Bench {
 public:
  Bench(Device device, const Case& c)
      : device_(std::move(device)),
        stream_(device_.make_stream()),
        case_(c),
        tokens_(device_.backend().buffer<float>(c.batch * c.d, "tokens")) {
    SaeSpec spec;
    spec.d = c.d, spec.n = c.n, spec.k = c.k, spec.tied = c.tied, spec.unit_norm = c.unit_norm;
    spec.aux_k = c.aux_k, spec.max_batch = c.batch, spec.precision = c.precision;
    sae_ = device_.backend().make_sae(spec);
    sae_->load_sync(parameters(c));
    sae_->load_optimizer_sync(optimizer(c));
    const HostTensor x = numbers({c.batch, c.d}, whole_numbers(c), 1.0F, 5);
    device_.backend().copy_to_device(*stream_, tokens_.data(), x.data(), x.size() * 4);
    stream_->synchronize();
  }

  Digests run() {
    Digests digests(case_);
    add_selection(digests);
    add_gradients(digests);
    add_steps(digests);
    return digests;
  }

 private:
  View<const float, 2> tokens() { return tokens_.matrix(case_.batch, case_.d); }

  void add_selection(Digests& digests) {
    const int64_t count = case_.batch * case_.k;
    Backend& backend = device_.backend();
    auto values = backend.buffer<float>(count, "values");
    auto indices = backend.buffer<int32_t>(count, "indices");
    sae_->encode(*stream_, tokens(), values.matrix(case_.batch, case_.k),
                 indices.matrix(case_.batch, case_.k));
    std::vector<float> found(static_cast<std::size_t>(count));
    std::vector<int32_t> chosen(found.size());
    backend.copy_to_host(*stream_, found.data(), values.data(), count * 4);
    backend.copy_to_host(*stream_, chosen.data(), indices.data(), count * 4);
    stream_->synchronize();
    digests.add("values", found.data(), count);
    digests.add("indices", chosen.data(), count);
    CHECK(std::set<int32_t>(chosen.begin(), chosen.end()).size() > 8);  // something was selected
  }

  SaeStep step_numbers() const {
    SaeStep step;
    step.dead_after = 5'000;
    step.aux_alpha = case_.aux_k > 0 ? 0.25F : 0.0F;
    return step;
  }

  void add_gradients(Digests& digests) {
    const SaeGradients found = sae_->gradients_sync(tokens(), step_numbers());
    digests.add("dW", found.w);
    digests.add("dW_dec", found.w_dec);
    digests.add("db_enc", found.b_enc);
    digests.add("db_pre", found.b_pre);
    digests.add("loss", &found.loss, 1);
    digests.add("aux loss", &found.aux_loss, 1);
    CHECK(found.loss > 0);
    if (case_.aux_k > 0) CHECK(found.aux_loss > 0);
  }

  void add_steps(Digests& digests) {
    SaeStep step = step_numbers();
    for (; step.adam_step <= (whole_numbers(case_) ? 1 : 3); ++step.adam_step)
      sae_->step(*stream_, tokens(), step);
    stream_->synchronize();
    const SaeStats stats = sae_->read_stats_sync();
    CHECK_FALSE((stats.saw_nan || stats.saw_inf));
    digests.add("squared error", &stats.squared_error, 1);
    digests.add("variance", &stats.total_variance, 1);
    const SaeParameters after = sae_->parameters_sync();
    digests.add("W", after.w);
    digests.add("W_dec", after.w_dec);
    digests.add("b_enc", after.b_enc);
    digests.add("b_pre", after.b_pre);
    const SaeOptimizerState state = sae_->optimizer_sync();
    digests.add("m", state.m_w);
    digests.add("v", state.v_w);
    digests.add("last fired", state.last_fired.data(), static_cast<int64_t>(state.last_fired.size()));
  }

  Device device_;
  std::unique_ptr<Stream> stream_;
  Case case_;
  DeviceBuffer<float> tokens_;
  std::unique_ptr<SaeExecutor> sae_;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const SaePrecision precision : {SaePrecision::kBf16, SaePrecision::kTf32, SaePrecision::kF32}) {
    all.push_back({.d = 48, .n = 192, .k = 8, .batch = 64, .precision = precision});
    all.push_back({.d = 128, .n = 256, .k = 32, .batch = 64, .precision = precision, .aux_k = 16});
    all.push_back({.d = 528, .n = 320, .k = 32, .batch = 32, .precision = precision, .tied = false});
  }
  all.push_back({.d = 64, .n = 1000, .k = 32, .batch = 128, .unit_norm = true});  // padded latents
  all.push_back({.d = 112, .n = 300, .k = 60, .batch = 64, .aux_k = 100});        // wide lists, chunked AuxK
  all.push_back({.d = 256, .n = 256, .k = 100, .batch = 32});                     // chunked selection
  all.push_back({.d = 832, .n = 256, .k = 32, .batch = 32});                      // streamed
  return all;
}

}  // namespace

TEST_CASE("digests of small cases, the same in a second run") {
  std::printf("[digest run] %s\n", cuda::test::emulated() ? "emulated" : "on a device");
  std::set<std::string> names, digests;
  for (const Case& c : cases()) {
    CAPTURE(name_of(c));
    const auto first = Bench(Device::cuda(0), c).run().found();
    const auto second = Bench(Device::cuda(0), c).run().found();
    CHECK(first == second);
    for (const auto& [name, digest] : first) {
      CHECK(names.insert(name).second);
      digests.insert(digest);
      std::printf("[digest] %s %s\n", name.c_str(), digest.c_str());
    }
  }
  CHECK(digests.size() > names.size() / 2);  // not all the same zeros
}
