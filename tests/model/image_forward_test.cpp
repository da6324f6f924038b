#include "model/image_forward.h"

#include <doctest/doctest.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "model/upload_ring.h"
#include "tests/model/fake_device.h"

using namespace branchsae;
using namespace branchsae::model;

namespace {

std::vector<int64_t> indices(int64_t begin, int64_t end) {
  std::vector<int64_t> all(static_cast<size_t>(end - begin));
  std::iota(all.begin(), all.end(), begin);
  return all;
}

/// Everything that a run of the images gives: which were visited, and their tokens of tap "a", collected on
/// the device.
struct Collected {
  std::vector<int64_t> images;
  std::vector<int64_t> unreadable;
  std::vector<float> tokens;
  bool operator==(const Collected&) const = default;
};

Collected collect(ImageForward& forward, Device& device, Stream& stream, const std::vector<int64_t>& images) {
  Collected found;
  const int64_t floats = forward.positions(0) * 8;
  auto all = device.backend().buffer<float>(static_cast<int64_t>(images.size()) * floats, "all");
  const auto on_unreadable = [&](int64_t image, const std::string&) { found.unreadable.push_back(image); };
  CHECK(forward.run(stream, images, on_unreadable, [&](const std::vector<int64_t>& batch) {
    const auto first = static_cast<int64_t>(found.images.size()), count = static_cast<int64_t>(batch.size());
    device.backend().copy_rows(
        stream, forward.tokens(0, 0, count),
        View<float, 2>(all.data() + first * floats, {count * forward.positions(0), 8}));
    found.images.insert(found.images.end(), batch.begin(), batch.end());
    return true;
  }));
  stream.synchronize();
  found.tokens.assign(all.data(), all.data() + static_cast<int64_t>(found.images.size()) * floats);
  return found;
}

}  // namespace

TEST_CASE("tokens are those of the images, however late the device works and however small the ring") {
  test::FakeImages images(700);  // several times what is decoded ahead
  for (int64_t i = 3; i < 700; i += 50) images.unreadable[i] = "broken";
  std::vector<Collected> found;
  for (const test::FakeControl& wanted : {test::FakeControl{}, test::FakeControl{.host = false},
                                          test::FakeControl{.host = false, .deferred = true}}) {
    test::FakeControl control = wanted;
    Device device = test::fake_device(control);
    const auto stream = device.make_stream();
    ImageForward forward(device, test::fake_graph(), images, {"a"}, 2);
    found.push_back(collect(forward, device, *stream, indices(0, 700)));
    CHECK(forward.images_run() == 700 - 14);
    CHECK(forward.reader_times().images == 700 - 14);
  }
  CHECK(found[0].unreadable.size() == 14);
  CHECK(found[1] == found[0]);
  CHECK(found[2] == found[0]);
}

TEST_CASE("what was prefetched is decoded before it is asked for, and changes nothing") {
  test::FakeImages images(60);
  images.unreadable[25] = "broken";
  test::FakeControl control{.host = false}, plain_control;
  Device device = test::fake_device(control), plain = test::fake_device(plain_control);
  const auto stream = device.make_stream(), plain_stream = plain.make_stream();
  ImageForward forward(device, test::fake_graph(), images, {"a"}, 4);
  ImageForward expected(plain, test::fake_graph(), images, {"a"}, 4);
  images.reads = 0;
  forward.prefetch(indices(20, 40));
  for (int tries = 0; tries < 1000 && images.reads < 20; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(images.reads == 20);
  const Collected found = collect(forward, device, *stream, indices(20, 40));
  CHECK(images.reads == 20);
  CHECK(forward.reader_times().images == 19);
  CHECK(found.unreadable == std::vector<int64_t>{25});
  CHECK(found == collect(expected, plain, *plain_stream, indices(20, 40)));
  // Something else is wanted than was prefetched.
  forward.prefetch(indices(40, 60));
  CHECK(collect(forward, device, *stream, indices(0, 20)) ==
        collect(expected, plain, *plain_stream, indices(0, 20)));
  // On the host the processor has better things to do.
  images.reads = 0;
  expected.prefetch(indices(0, 20));
  CHECK(images.reads == 0);
}

TEST_CASE("a ring's pieces arrive, one at a time and at their own length") {
  for (const bool host : {true, false}) {
    test::FakeControl control{.host = host, .deferred = true};
    Device device = test::fake_device(control);
    const auto compute = device.make_stream();
    UploadRing ring(device.backend(), 8 * 4, true, "test");
    std::vector<float> got(40, -1.0F);
    for (int64_t piece = 0; piece < 10; ++piece) {
      auto* staged = static_cast<float*>(ring.stage());
      const int64_t count = 1 + piece % 4;
      for (int64_t i = 0; i < count; ++i) staged[i] = static_cast<float>(10 * piece + i);
      const auto* sent = static_cast<const float*>(ring.send(*compute, staged, count * 4));
      device.backend().copy_to_host(*compute, got.data() + 4 * piece, sent, count * 4);
      if (piece == 5) ring.wait_sent();
    }
    compute->synchronize();
    for (int64_t piece = 0; piece < 10; ++piece) {
      for (int64_t i = 0; i < 4; ++i) {
        const float expected = i < 1 + piece % 4 ? static_cast<float>(10 * piece + i) : -1.0F;
        CHECK(got[static_cast<size_t>(4 * piece + i)] == expected);
      }
    }
  }
}
