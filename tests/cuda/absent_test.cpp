/// What holds whether or not there is CUDA, a driver or a device.
#include <doctest/doctest.h>

#include <string>

#include "engine/device.h"
#include "engine/error.h"

using namespace branchsae;

namespace {

/// Stands in for the real CPU backend, so that the choice can be tested without it.
class FakeCpu : public Backend {
 public:
  std::string name() const override { return "cpu"; }
  std::string description() const override { return "fake"; }
  int threads() const override { return 1; }
  bool is_host() const override { return true; }
  std::unique_ptr<Stream> make_stream() override { return nullptr; }
  DeviceMemory allocate(int64_t, std::string_view) override { return {}; }
  void copy_to_device(Stream&, void*, const void*, int64_t) override {}
  void copy_to_host(Stream&, void*, const void*, int64_t) override {}
  void gather_rows(Stream&, View<const float, 2>, View<const int32_t, 1>, View<float, 2>) override {}
  void copy_rows(Stream&, View<const float, 2>, View<float, 2>) override {}
  std::unique_ptr<NetworkExecutor> make_network(const Graph&, const NetworkOptions&) override {
    return nullptr;
  }
  std::unique_ptr<SaeExecutor> make_sae(const SaeSpec&) override { return nullptr; }
};

[[maybe_unused]] const bool registered = [] {
  register_backend(
      {.kind = "cpu",
       .unavailable = [] { return std::string(); },
       .make = [](int, int) -> std::unique_ptr<Backend> { return std::make_unique<FakeCpu>(); }});
  return true;
}();

}  // namespace

TEST_CASE("every build registers the kind cuda and says what it was built with") {
  const BackendFactory* cuda = find_backend("cuda");
  REQUIRE(cuda != nullptr);
  CHECK_FALSE(cuda->build.empty());
}

TEST_CASE("the reason for no CUDA is one line, and the same at every call") {
  const BackendFactory* cuda = find_backend("cuda");
  REQUIRE(cuda != nullptr);
  const std::string reason = cuda->unavailable();
  CHECK(reason.find('\n') == std::string::npos);
  CHECK(cuda->unavailable() == reason);
}

TEST_CASE("auto takes CUDA where a device answers, else the CPU") {
  const BackendFactory* cuda = find_backend("cuda");
  REQUIRE(cuda != nullptr);
  const bool usable = cuda->complete && cuda->unavailable().empty();
  CHECK(Device::open("auto").backend().name() == (usable ? "cuda:0" : "cpu"));
}

TEST_CASE("asking for cuda by name where there is none throws DeviceError with the reason") {
  const std::string reason = find_backend("cuda")->unavailable();
  for (const char* name : {"cuda", "cuda:0", "cuda:7"}) {
    if (reason.empty()) {
      // A device answers: it opens, or there are not that many.
      if (std::string(name) == "cuda:7") continue;
      CHECK(Device::open(name).backend().name() == "cuda:0");
      continue;
    }
    try {
      Device::open(name);
      FAIL("no error for " << name);
    } catch (const DeviceError& error) {
      CHECK(std::string(error.what()).find(reason) != std::string::npos);
      CHECK(error.exit_code() == 1);
    }
  }
}
