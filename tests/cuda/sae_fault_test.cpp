// What only the emulated runtime can show: memory that runs out, launches that fail, streams that lag behind.
#include <doctest/doctest.h>

#include "cuda/memory.h"
#include "cuda/sae/sae_plan.h"
#include "engine/error.h"
#include "engine/sync_debug.h"
#include "tests/emulator/runtime.h"
#include "tests/sae_cases/sae_cases.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

SaeSpec small_spec() {
  SaeSpec spec;
  spec.d = 48, spec.n = 300, spec.k = 16, spec.aux_k = 20, spec.max_batch = 64;
  return spec;
}

SaeStep step_of(int i) {
  SaeStep step;
  step.adam_step = i + 1, step.dead_after = 64, step.aux_alpha = 0.03F;
  return step;
}

/// Settings of the emulator put back at the end.
class SettingsScope {
 public:
  SettingsScope() : before_(emulator::settings()) {}
  ~SettingsScope() { emulator::settings() = before_; }
  SettingsScope(const SettingsScope&) = delete;
  SettingsScope& operator=(const SettingsScope&) = delete;

 private:
  emulator::Settings before_;
};

class SyncDebugScope {
 public:
  SyncDebugScope() { set_sync_debug(true); }
  ~SyncDebugScope() { set_sync_debug(false); }
};

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a step allocates nothing, alone and in a group") {
  const SaeSpec spec = small_spec();
  const auto first = make_loaded(spec, random_parameters(spec, 1)),
             second = make_loaded(spec, random_parameters(spec, 2));
  OnDevice<float> x(normal_tensor({64, spec.d}, 1, 3));
  const auto stream = sae_backend().make_stream();
  const std::vector<SaeExecutor*> saes = {first.get(), second.get()};
  const auto step_both = [&](int i) {
    const View<const float, 2> tokens = x.matrix().rows(0, 64 - i);
    first->step(*stream, tokens, step_of(i));
    sae_backend().step_group(*stream, saes, std::vector{tokens, tokens},
                             std::vector{step_of(i + 1), step_of(i)});
  };
  step_both(0);  // graphs are captured, the group is made
  const int64_t before = emulator::live_allocations();
  emulator::fail_allocation(1);
  for (int i = 1; i < 5; ++i) step_both(2 * i);
  stream->synchronize();
  CHECK(emulator::live_allocations() == before);
  // The trap was set: the next allocation falls into it.
  CHECK_THROWS_AS(sae_backend().allocate(16, "trap"), MemoryError);
  CHECK(first->read_stats_sync().aux_error > 0);  // AuxK took part
}

TEST_CASE("a group shares its launches") {
  std::vector<std::unique_ptr<SaeExecutor>> owned;
  std::vector<SaeExecutor*> saes;
  std::vector<View<const float, 2>> tokens;
  OnDevice<float> x(normal_tensor({64, 48}, 1, 3));
  for (uint64_t i = 0; i < 6; ++i) {
    owned.push_back(make_loaded(small_spec(), random_parameters(small_spec(), i)));
    saes.push_back(owned.back().get());
    tokens.push_back(x.matrix());
  }
  const auto stream = sae_backend().make_stream();
  const auto launches_of = [&](const std::function<void()>& body) {
    const int64_t before = emulator::counters().launches;
    body();
    stream->synchronize();
    return emulator::counters().launches - before;
  };
  const int64_t one = launches_of([&] { saes[0]->step(*stream, tokens[0], step_of(0)); });
  const int64_t six = launches_of(
      [&] { sae_backend().step_group(*stream, saes, tokens, std::vector<SaeStep>(6, step_of(1))); });
  CHECK(one == six);
  MESSAGE("launches of a step: ", one);
}

TEST_CASE("too little memory: what, how large, how much is free, what would fit; then all works") {
  SaeSpec spec;
  spec.d = 64, spec.n = 1024, spec.k = 32, spec.max_batch = 1 << 17;
  const auto small = make_loaded(small_spec(), random_parameters(small_spec(), 1));
  const int64_t before = emulator::live_allocations();
  auto& model = emulator::device_model();
  const int64_t whole = model.memory_bytes;
  model.memory_bytes = emulator::device_bytes() + (32 << 20);
  const std::string message = message_of([&] { sae_backend().make_sae(spec); });
  CHECK(message.find("out of memory on cuda:0: an autoencoder of 1024 x 64 with batch 131072 needs") == 0);
  CHECK(message.find("32.0 MiB are free") != std::string::npos);
  CHECK(message.find("; --batch ") != std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
  MESSAGE(message);
  // The batch that the message names does fit.
  spec.max_batch = std::stoll(message.substr(message.find("--batch ") + 8));
  CHECK(spec.max_batch > 1000);
  CHECK_NOTHROW(sae_backend().make_sae(spec));
  // Where no batch would fit, it says what else to do.
  spec.n = 1 << 17;
  CHECK(message_of([&] {
          sae_backend().make_sae(spec);
        }).find("fewer --tap at a time or use a smaller --expansion") != std::string::npos);
  model.memory_bytes = whole;
  CHECK(emulator::live_allocations() == before);
  OnDevice<float> x(normal_tensor({64, 48}, 1, 3));
  step_sync(*small, x.matrix(), step_of(0));
  CHECK(small->read_stats_sync().tokens == 64);
}

TEST_CASE("each allocation may fail: nothing leaks, what is there goes on") {
  const SaeSpec spec = small_spec();
  const int64_t before = emulator::live_allocations();
  int failures = 0;
  for (int n = 1; n < 20; ++n) {
    emulator::fail_allocation(n);
    try {
      const auto sae = sae_backend().make_sae(spec);
      emulator::fail_allocation(0);
      break;
    } catch (const MemoryError&) {
      ++failures;
    }
    CHECK(emulator::live_allocations() == before);
  }
  CHECK(failures >= 2);
}

TEST_CASE("a launch that fails is reported with the kernel's name, and the executor goes on") {
  const SaeSpec spec = small_spec();
  OnDevice<float> x(normal_tensor({64, 48}, 1, 3));
  const auto good = make_loaded(spec, random_parameters(spec, 1));
  step_sync(*good, x.matrix(), step_of(0));
  int failures = 0;
  // Of the first step: setting the batch, then each launch while the graph is captured.
  for (int n = 1; n < 40; ++n) {
    const auto sae = make_loaded(spec, random_parameters(spec, 1));
    emulator::fail_launch(n);
    const std::string message = message_of([&] { step_sync(*sae, x.matrix(), step_of(0)); });
    emulator::reset_device();
    if (message == "no error") break;
    ++failures;
    CHECK(message.find(": too many resources requested for launch") != std::string::npos);
    CHECK(message.find("graph") == std::string::npos);
    // Nothing of the step ran, or only the setting of the batch: it can be done again.
    step_sync(*sae, x.matrix(), step_of(0));
    CHECK(bytes_of(*sae) == bytes_of(*good));
  }
  CHECK(failures > 8);
}

TEST_CASE(
    "an error inside a kernel comes with the next wait; with --sync-debug at once, with the kernel's name") {
  const SaeSpec spec = small_spec();
  OnDevice<float> x(normal_tensor({64, 48}, 1, 3));
  const auto sae = make_loaded(spec, random_parameters(spec, 1));
  const auto stream = sae_backend().make_stream();
  sae->step(*stream, x.matrix(), step_of(0));
  stream->synchronize();
  emulator::fail_launch(1, cudaErrorLaunchFailure, true);
  const std::string message = message_of([&] {
    sae->step(*stream, x.matrix(), step_of(1));
    stream->synchronize();
  });
  CHECK(message.find("unspecified launch failure") != std::string::npos);
  CHECK_THROWS_AS(sae->read_stats_sync(), DeviceError);
  emulator::reset_device();
  {
    const SyncDebugScope debug;
    emulator::fail_launch(2, cudaErrorLaunchFailure, true);
    CHECK(message_of([&] { sae->step(*stream, x.matrix(), step_of(1)); }).find("run gather_tokens") == 0);
    emulator::reset_device();
  }
}

TEST_CASE("--sync-debug changes no bit") {
  const SaeSpec spec = small_spec();
  OnDevice<float> x(normal_tensor({64, 48}, 1, 3));
  const auto plain = make_loaded(spec, random_parameters(spec, 1)),
             debugged = make_loaded(spec, random_parameters(spec, 1));
  for (int i = 0; i < 3; ++i) {
    step_sync(*plain, x.matrix(), step_of(i));
    const SyncDebugScope debug;
    step_sync(*debugged, x.matrix(), step_of(i));
  }
  CHECK(bytes_of(*plain) == bytes_of(*debugged));
}

TEST_CASE("work on several streams is in order although no stream has run yet") {
  const SettingsScope scope;
  const SaeSpec spec = small_spec();
  OnDevice<float> x(normal_tensor({64, 48}, 1, 3));
  const auto serial = make_loaded(spec, random_parameters(spec, 1)),
             spread = make_loaded(spec, random_parameters(spec, 1));
  const auto other = make_loaded(spec, random_parameters(spec, 2));
  for (int i = 0; i < 4; ++i) step_sync(*serial, x.matrix(), step_of(i));
  emulator::settings().defer = true;
  const auto first = sae_backend().make_stream(), second = sae_backend().make_stream();
  spread->step(*first, x.matrix(), step_of(0));
  spread->step(*second, x.matrix(), step_of(1));
  const std::vector<SaeExecutor*> saes = {other.get(), spread.get()};
  const View<const float, 2> tokens = x.matrix();
  sae_backend().step_group(*first, saes, std::vector{tokens, tokens}, std::vector{step_of(0), step_of(2)});
  spread->step(*second, x.matrix(), step_of(3));
  // A blocking call waits for all of it by itself.
  CHECK(bytes_of(*spread) == bytes_of(*serial));
  CHECK(spread->read_stats_sync().squared_error == serial->read_stats_sync().squared_error);
}

TEST_CASE("a stream waits for another") {
  const SettingsScope scope;
  Backend& backend = sae_backend();
  const std::vector<float> values(100, 3.0F);
  OnDevice<float> from(values), between(std::vector<float>(100)), to(std::vector<float>(100));
  for (const bool waits : {true, false}) {
    OnDevice<float> middle(std::vector<float>(100)), end(std::vector<float>(100));
    emulator::settings().defer = true;
    const auto first = backend.make_stream(), second = backend.make_stream();
    backend.copy_rows(*first, from.matrix(10, 10), middle.matrix(10, 10));
    if (waits) second->wait_for(*first);
    backend.copy_rows(*second, middle.matrix(10, 10), end.matrix(10, 10));
    second->synchronize();
    // The emulator runs nothing that was not asked for: without the wait the copy is of what was there
    // before.
    CHECK((end.host() == values) == waits);
    emulator::settings().defer = false;
    first->synchronize();
  }
}

TEST_CASE("memory: what an executor reports is what it holds, far below tokens x latents") {
  SaeSpec spec;
  spec.d = 16, spec.n = 65536, spec.k = 32, spec.max_batch = 4096;
  const int64_t before = emulator::device_bytes();
  const auto sae = sae_backend().make_sae(spec);
  const int64_t held = emulator::device_bytes() - before;
  CHECK(held == sae->memory_bytes());
  CHECK(held < spec.max_batch * spec.n * 2 / 4);  // a quarter of the matrix in bf16
  MESSAGE("MiB: ", held >> 20);
  CHECK(sae->description().find("fp32") == 0);
  MESSAGE(sae->description());
}

TEST_CASE("pinned memory can be copied from and to; too much is refused") {
  Backend& backend = sae_backend();
  const DeviceMemory pinned = backend.allocate_pinned(400, "images");
  auto* host = static_cast<float*>(pinned.data());
  std::fill_n(host, 100, 2.5F);
  const auto device = backend.buffer<float>(100, "images");
  const auto stream = backend.make_stream();
  backend.copy_to_device(*stream, device.data(), host, 400);
  std::vector<float> back(100);
  backend.copy_to_host(*stream, back.data(), device.data(), 400);
  stream->synchronize();
  CHECK(back == std::vector<float>(100, 2.5F));
  CHECK(backend.allocate_pinned(0, "nothing").data() == nullptr);
  emulator::fail_allocation(1);
  CHECK(message_of([&] {
          backend.allocate_pinned(1 << 20, "images");
        }).find("\"images\" 1.0 MiB of pinned host memory") != std::string::npos);
}
