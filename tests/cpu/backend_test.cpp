#include <doctest/doctest.h>
#include <omp.h>

#include <cstdint>
#include <vector>

#include "cpu/cpu_backend.h"
#include "cpu/threads.h"
#include "engine/device.h"
#include "engine/error.h"

using namespace branchsae;

TEST_CASE("the CPU registers itself") {
  const BackendFactory* factory = find_backend("cpu");
  REQUIRE(factory != nullptr);
  CHECK(factory->unavailable().empty());
  CHECK(factory->make(0, 3)->threads() == 3);
  CHECK_THROWS_AS(factory->make(1, 0), InputError);
  CHECK_THROWS_AS(factory->make(0, -1), InputError);
  CHECK_THROWS_AS(factory->make(0, 1'000'000), InputError);
  const Device device = Device::cpu();
  CHECK(device.backend().is_host());
  CHECK(device.backend().name() == "cpu");
  CHECK(device.backend().threads() >= 1);
  CHECK(device.backend().description().find("oneDNN") != std::string::npos);
}

TEST_CASE("memory is aligned, and too much of it is refused with its size") {
  cpu::CpuBackend backend(1);
  for (const int64_t size_bytes : {int64_t{0}, int64_t{1}, int64_t{1000}, int64_t{5} << 20}) {
    const DeviceMemory memory = backend.allocate(size_bytes, "test");
    CHECK(reinterpret_cast<uintptr_t>(memory.data()) % 64 == 0);
    CHECK(memory.size_bytes() == size_bytes);
  }
  CHECK_THROWS_WITH_AS(backend.allocate(int64_t{1} << 60, "huge"), doctest::Contains("huge"), DeviceError);
  CHECK_THROWS_AS(backend.allocate(-1, "negative"), DeviceError);
  CHECK(backend.allocate(100, "after").data() != nullptr);
}

TEST_CASE("rows are copied and gathered, with strides") {
  cpu::CpuBackend backend(2);
  const auto stream = backend.make_stream();
  std::vector<float> table(7 * 5);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
  const View<const float, 2> src = View<const float, 2>(table.data(), {7, 5}).columns(1, 3);

  std::vector<float> gathered(4 * 3, -1.0F);
  const std::vector<int32_t> rows{6, 0, 6, 3};
  backend.gather_rows(*stream, src, {rows.data(), {4}}, {gathered.data(), {4, 3}});
  CHECK(gathered == std::vector<float>{31, 32, 33, 1, 2, 3, 31, 32, 33, 16, 17, 18});

  std::vector<float> copied(7 * 4, -1.0F);
  backend.copy_rows(*stream, src, View<float, 2>(copied.data(), {7, 3}, {4, 1}));
  for (size_t row = 0; row < 7; ++row) {
    CHECK(copied[row * 4] == table[row * 5 + 1]);
    CHECK(copied[row * 4 + 2] == table[row * 5 + 3]);
    CHECK(copied[row * 4 + 3] == -1.0F);  // beyond the view
  }
  std::vector<float> across(3 * 7);
  backend.copy_rows(*stream, src, View<float, 2>(across.data(), {7, 3}, {1, 7}));  // transposed
  CHECK(across[2 * 7 + 5] == table[5 * 5 + 3]);

  const std::vector<int32_t> outside{0, 7}, negative{-1, 0};
  const View<float, 2> two(gathered.data(), {2, 3});
  CHECK_THROWS_WITH_AS(backend.gather_rows(*stream, src, {outside.data(), {2}}, two),
                       doctest::Contains("index 7"), ShapeError);
  CHECK_THROWS_AS(backend.gather_rows(*stream, src, {negative.data(), {2}}, two), ShapeError);
  CHECK_THROWS_AS(backend.gather_rows(*stream, src, {rows.data(), {4}}, two), ShapeError);
  CHECK_THROWS_AS(backend.copy_rows(*stream, src, two), ShapeError);
  CHECK_THROWS_AS(backend.copy_rows(*stream, src, View<float, 2>(copied.data(), {7, 4})), ShapeError);
}

TEST_CASE("bytes go to the device and back") {
  cpu::CpuBackend backend(1);
  const auto stream = backend.make_stream();
  auto buffer = backend.buffer<float>(3, "test");
  const float values[] = {1.5F, -2.0F, 4.0F};
  float back[3] = {};
  backend.copy_to_device(*stream, buffer.data(), values, sizeof values);
  backend.copy_to_host(*stream, back, buffer.data(), sizeof back);
  stream->synchronize();
  CHECK(back[1] == -2.0F);
  CHECK(back[2] == 4.0F);
}

TEST_CASE("a thread count holds inside its scope only, and covers every index once") {
  const int before = omp_get_max_threads();
  {
    const cpu::ThreadScope scope(before + 2);
    CHECK(omp_get_max_threads() == before + 2);
    std::vector<int> visits(1001, 0);
    cpu::parallel_for(1001, [&](int64_t i) { ++visits[static_cast<size_t>(i)]; });
    CHECK(visits == std::vector<int>(1001, 1));
  }
  CHECK(omp_get_max_threads() == before);
}
