/// Needs a CUDA device; skipped without one.
#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

#include "cuda/memory.h"
#include "engine/device.h"
#include "engine/error.h"
#include "tests/test_data.h"

using namespace branchsae;

namespace {

/// A device, or nothing after the test was counted as skipped.
std::optional<Device> device_or_skip() {
  if (const std::string reason = find_backend("cuda")->unavailable(); !reason.empty()) {
    test::skip(reason.c_str());
    return std::nullopt;
  }
  return Device::cuda(0);
}

std::vector<float> ramp(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

template <class T>
DeviceBuffer<T> upload(Backend& backend, Stream& stream, const std::vector<T>& values) {
  auto buffer = backend.buffer<T>(static_cast<int64_t>(values.size()), "test");
  backend.copy_to_device(stream, buffer.data(), values.data(),
                         buffer.size() * static_cast<int64_t>(sizeof(T)));
  return buffer;
}

std::vector<float> download(Backend& backend, Stream& stream, const DeviceBuffer<float>& buffer) {
  std::vector<float> values(static_cast<size_t>(buffer.size()));
  backend.copy_to_host(stream, values.data(), buffer.data(),
                       buffer.size() * static_cast<int64_t>(sizeof(float)));
  stream.synchronize();
  return values;
}

}  // namespace

TEST_CASE("cuda: what is copied to the device comes back") {
  const auto device = device_or_skip();
  if (!device) return;
  const auto stream = device->make_stream();
  const std::vector<float> values = ramp(1000);
  const auto buffer = upload(device->backend(), *stream, values);
  CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
  CHECK(download(device->backend(), *stream, buffer) == values);
}

TEST_CASE("cuda: rows are gathered from strided columns, nothing beside them is written") {
  const auto device = device_or_skip();
  if (!device) return;
  Backend& backend = device->backend();
  const auto stream = device->make_stream();
  // Sizes that divide neither warp nor block; columns 3..9 of 17; a fence of poison around the destination.
  constexpr int64_t kRows = 301, kWidth = 17, kFirst = 3, kColumns = 7, kCount = 293, kFence = 5;
  const auto src = upload(backend, *stream, ramp(kRows * kWidth));
  std::vector<int32_t> order(kCount);
  for (int64_t i = 0; i < kCount; ++i)
    order[static_cast<size_t>(i)] = static_cast<int32_t>((i * 113 + 7) % kRows);
  const auto rows = upload(backend, *stream, order);
  const float poison = -12345.0F;
  const auto dst = upload(backend, *stream, std::vector<float>(kCount * kColumns + 2 * kFence, poison));

  const View<const float, 2> from =
      View<const float, 2>(src.data(), {kRows, kWidth}).columns(kFirst, kColumns);
  backend.gather_rows(*stream, from, View<const int32_t, 1>(rows.data(), {kCount}),
                      View<float, 2>(dst.data() + kFence, {kCount, kColumns}));
  const std::vector<float> found = download(backend, *stream, dst);
  for (int64_t i = 0; i < kFence; ++i) {
    CHECK(found[static_cast<size_t>(i)] == poison);
    CHECK(found[found.size() - 1 - static_cast<size_t>(i)] == poison);
  }
  int64_t wrong = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      const auto expected = static_cast<float>(order[static_cast<size_t>(i)] * kWidth + kFirst + j + 1);
      wrong += found[static_cast<size_t>(kFence + i * kColumns + j)] != expected;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("cuda: rows are copied into a wider matrix, shapes that differ are refused") {
  const auto device = device_or_skip();
  if (!device) return;
  Backend& backend = device->backend();
  const auto stream = device->make_stream();
  const auto src = upload(backend, *stream, ramp(6 * 4));
  const auto dst = upload(backend, *stream, std::vector<float>(6 * 10, 0.0F));
  const View<const float, 2> from(src.data(), {6, 4});
  View<float, 2> whole(dst.data(), {6, 10});
  backend.copy_rows(*stream, from, whole.columns(2, 4));
  const std::vector<float> found = download(backend, *stream, dst);
  for (int64_t i = 0; i < 6; ++i) {
    for (int64_t j = 0; j < 10; ++j) {
      const float expected = j >= 2 && j < 6 ? static_cast<float>(i * 4 + j - 2 + 1) : 0.0F;
      CHECK(found[static_cast<size_t>(i * 10 + j)] == expected);
    }
  }
  CHECK_THROWS_AS(backend.copy_rows(*stream, from, whole.columns(0, 5)), ShapeError);
  CHECK_THROWS_AS(backend.copy_rows(*stream, from, whole.rows(0, 5).columns(0, 4)), ShapeError);
}

TEST_CASE("cuda: memory that cannot be had is refused with sizes, and the device still works") {
  const auto device = device_or_skip();
  if (!device) return;
  Backend& backend = device->backend();
  CHECK_THROWS_AS(backend.allocate(int64_t{1} << 50, "too much"), DeviceError);
  CHECK_THROWS_AS(backend.allocate(-1, "negative"), DeviceError);
  const auto stream = device->make_stream();
  const std::vector<float> values = ramp(64);
  CHECK(download(backend, *stream, upload(backend, *stream, values)) == values);
}

TEST_CASE("cuda: memory in stream order can be used at once on its stream") {
  const auto device = device_or_skip();
  if (!device) return;
  Backend& backend = device->backend();
  cuda::CudaStream stream(0);
  const std::vector<float> values = ramp(4096);
  for (int round = 0; round < 3; ++round) {
    const DeviceBuffer<float> buffer(cuda::allocate_in_order(stream, 4096 * 4, "scratch"));
    backend.copy_to_device(stream, buffer.data(), values.data(), 4096 * 4);
    CHECK(download(backend, stream, buffer) == values);
  }
}

TEST_CASE("cuda: devices that do not exist and foreign streams are refused") {
  const auto device = device_or_skip();
  if (!device) return;
  CHECK_THROWS_AS(Device::cuda(1000), DeviceError);
  struct Foreign : Stream {
    void synchronize() override {}
  } foreign;
  float value = 0;
  const auto buffer = device->backend().buffer<float>(1, "one");
  CHECK_THROWS_AS(device->backend().copy_to_device(foreign, buffer.data(), &value, 4), DeviceError);
}
