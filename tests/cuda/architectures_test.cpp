/// Every architecture has its own shared memory and number of multiprocessors, and the launches are planned
/// by them. Runs in the emulator only, which refuses a launch that the modelled device would refuse.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/random.h"
#include "tests/emulator/runtime.h"

using namespace branchsae;

namespace {

struct Architecture {
  int major, minor, multiprocessors;
  int64_t smem_kib;  ///< that a block may opt in to
};

constexpr Architecture kArchitectures[] = {
    {8, 0, 108, 163}, {8, 6, 84, 99}, {9, 0, 132, 227}, {10, 0, 148, 227}};

/// Restores what other tests expect.
class Modelled {
 public:
  explicit Modelled(const Architecture& a) : before_(emulator::device_model()) {
    emulator::DeviceModel& model = emulator::device_model();
    model.major = a.major, model.minor = a.minor, model.multiprocessors = a.multiprocessors;
    model.smem_per_block_optin = a.smem_kib << 10;
  }
  ~Modelled() { emulator::device_model() = before_; }
  Modelled(const Modelled&) = delete;
  Modelled& operator=(const Modelled&) = delete;

 private:
  emulator::DeviceModel before_;
};

SaeSpec spec_of(int64_t d, SaePrecision precision) {
  SaeSpec spec;
  spec.d = d, spec.n = 2 * d, spec.k = 32, spec.max_batch = 8192, spec.precision = precision;
  return spec;
}

std::vector<SaeSpec> specs() {
  std::vector<SaeSpec> all;
  for (const int64_t d : {48, 128, 256, 512, 832}) all.push_back(spec_of(d, SaePrecision::kBf16));
  all[1].aux_k = 200;
  all[2].tied = false;
  all.push_back(spec_of(128, SaePrecision::kTf32));
  all.push_back(spec_of(48, SaePrecision::kF32));
  all.push_back(spec_of(832, SaePrecision::kF32));
  for (const int64_t k : {64, 100}) {  // long lists of candidates, the chunked route
    all.push_back(spec_of(112, SaePrecision::kBf16));
    all.back().k = k;
  }
  return all;
}

HostTensor normal(const Shape& shape, float scale, uint64_t seed) {
  HostTensor tensor(shape);
  Random random(seed, 0);
  for (float& value : tensor.values()) value = scale * static_cast<float>(random.normal());
  return tensor;
}

/// A step of few tokens, planned for many.
void run_step(const SaeSpec& spec) {
  constexpr int64_t kTokens = 40;
  const Device device = Device::cuda(0);
  const auto stream = device.make_stream();
  const auto sae = device.backend().make_sae(spec);
  SaeParameters p;
  p.w = normal({spec.n, spec.d}, 0.1F, 1);
  if (!spec.tied) p.w_dec = normal({spec.n, spec.d}, 0.1F, 2);
  p.b_enc = HostTensor({spec.n});
  p.b_pre = HostTensor({spec.d});
  sae->load_sync(p);
  const HostTensor x = normal({kTokens, spec.d}, 1.0F, 3);
  auto tokens = device.backend().buffer<float>(x.size(), "tokens");
  device.backend().copy_to_device(*stream, tokens.data(), x.data(), x.size() * 4);
  SaeStep step;
  step.dead_after = 0;  // all latents count as dead
  step.aux_alpha = spec.aux_k > 0 ? 0.1F : 0.0F;
  sae->step(*stream, tokens.matrix(kTokens, spec.d), step);
  stream->synchronize();
  const SaeStats stats = sae->read_stats_sync();
  CHECK(stats.tokens == kTokens);
  CHECK(stats.squared_error > 0);
}

}  // namespace

TEST_CASE("every launch of a step fits into the shared memory of each architecture") {
  emulator::settings().race_checks = false;  // other tests look for races
  for (const Architecture& a : kArchitectures) {
    const Modelled device(a);
    for (const SaeSpec& spec : specs()) {
      CAPTURE(a.major);
      CAPTURE(a.minor);
      CAPTURE(spec.d);
      CAPTURE(spec.k);
      CAPTURE(static_cast<int>(spec.precision));
      CHECK_NOTHROW(run_step(spec));
    }
  }
}
