#include "model/token_rounds.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "engine/error.h"
#include "tests/model/fake_device.h"

using namespace branchsae;
using namespace branchsae::model;

namespace {

using Batch = std::vector<float>;

/// Everything that rounds need, on one fake device.
struct Fixture {
  test::FakeControl control;
  Device device = test::fake_device(control);
  Graph graph = test::fake_graph();
  std::unique_ptr<Stream> stream = device.make_stream();
  test::FakeImages& images;
  ImageForward forward;
  ImageTokens tokens;
  std::vector<int64_t> considered;
  SkippedImages skipped;
  RoundSizes sizes;
  TokenRounds rounds;
  bool prefetches = false;

  Fixture(test::FakeImages& source, const std::vector<std::string>& taps, RoundSizes round_sizes,
          CacheBudget budget, bool host = true, bool deferred = false)
      : control{.host = host, .deferred = deferred},
        images(source),
        forward(device, graph, source, taps, 4),
        tokens(device, forward, {nullptr, round_sizes.sample == TokenSampling::kNorm}),
        considered(all(source)),
        skipped(source, considered, false),
        sizes(round_sizes),
        rounds(device, tokens, skipped, ImageSequence(all(source), 3), sizes, 3) {
    rounds.keep_activations(budget);
  }

  static std::vector<int64_t> all(const ImageSource& source) {
    std::vector<int64_t> indices(static_cast<size_t>(source.size()));
    std::iota(indices.begin(), indices.end(), 0);
    return indices;
  }

  /// The next batch of every tap.
  std::vector<Batch> next() {
    const bool new_round = !rounds.filled();
    REQUIRE(rounds.prepare(*stream, [](int64_t, int64_t) { return true; }));
    if (new_round && prefetches) rounds.prefetch();
    std::vector<Batch> batches;
    const std::vector<View<const float, 2>> views = rounds.batches(*stream);
    stream->synchronize();
    for (const View<const float, 2>& view : views) batches.emplace_back(view.data, view.data + view.size());
    rounds.advance();
    return batches;
  }
  std::vector<std::vector<Batch>> take(int64_t count) {
    std::vector<std::vector<Batch>> batches;
    for (int64_t i = 0; i < count; ++i) batches.push_back(next());
    return batches;
  }
};

constexpr CacheBudget kMuch{int64_t{1} << 30, 0}, kNone{};
const RoundSizes kSizes{
    .batch = 24, .positions = 16, .images = 7};  // 112 tokens: 4 batches, 16 tokens dropped

/// The tokens themselves: random pixels make them differ, but for those that ReLU left all zero.
std::multiset<std::vector<float>> token_set(const std::vector<std::vector<Batch>>& batches, size_t tap,
                                            size_t d) {
  std::multiset<std::vector<float>> tokens;
  for (const auto& batch : batches) {
    for (auto row = batch[tap].begin(); row != batch[tap].end(); row += static_cast<std::ptrdiff_t>(d)) {
      tokens.insert({row, row + static_cast<std::ptrdiff_t>(d)});
    }
  }
  return tokens;
}

}  // namespace

TEST_CASE("an epoch visits every image once, in a new order each time") {
  ImageSequence sequence({2, 4, 6, 8, 10}, 1);
  std::vector<std::vector<int64_t>> epochs(4);
  for (size_t epoch = 0; epoch < 4; ++epoch) {
    for (int i = 0; i < 5; ++i) {
      CHECK(sequence.place() == SequencePlace{static_cast<int64_t>(epoch), i});
      const auto entry = sequence.next();
      CHECK(entry.epoch == static_cast<int64_t>(epoch));
      epochs[epoch].push_back(entry.image);
    }
    std::vector<int64_t> sorted = epochs[epoch];
    std::ranges::sort(sorted);
    CHECK(sorted == std::vector<int64_t>{2, 4, 6, 8, 10});
  }
  CHECK((epochs[0] != epochs[1] || epochs[1] != epochs[2]));
  ImageSequence again({2, 4, 6, 8, 10}, 1);
  again.seek({2, 3});
  CHECK(again.next().image == epochs[2][3]);
}

TEST_CASE("batches are the same wherever activations are kept, on the host and on a device") {
  test::FakeImages images(10);
  images.unreadable[6] = "broken";
  for (const RoundSizes& sizes : {kSizes, RoundSizes{.batch = 15, .positions = 5, .images = 7}}) {
    Fixture none(images, {"a", "b"}, sizes, kNone), kept(images, {"a", "b"}, sizes, kMuch);
    const int64_t image = none.rounds.cache().image_bytes();
    const auto expected = none.take(30);
    CHECK(kept.take(30) == expected);
    Fixture some(images, {"a", "b"}, sizes, {3 * image, 0});
    CHECK(some.take(30) == expected);
    CHECK(some.control.images_run < none.control.images_run);
    CHECK(some.control.images_run > kept.control.images_run);
    for (const bool deferred : {false, true}) {
      for (const CacheBudget budget : {kNone, kMuch, CacheBudget{0, 1 << 30},
                                       CacheBudget{2 * image, 3 * image}, CacheBudget{4 * image, 1 << 30}}) {
        CAPTURE(deferred);
        CAPTURE(budget.device_bytes / image);
        CAPTURE(budget.host_bytes / image);
        Fixture remote(images, {"a", "b"}, sizes, budget, false, deferred);
        remote.prefetches = true;
        CHECK(remote.take(30) == expected);
        if (budget.device_bytes + budget.host_bytes >= 1 << 30)
          CHECK(remote.control.images_run == kept.control.images_run);
      }
    }
  }
}

TEST_CASE("every image is run once when all are kept, else once a round") {
  test::FakeImages images(10);
  Fixture none(images, {"a", "b"}, kSizes, kNone), kept(images, {"a", "b"}, kSizes, kMuch);
  none.take(30);
  kept.take(30);
  // 30 batches are 8 rounds of 7 images; one blank image tells the grid.
  CHECK(none.control.images_run == 1 + 8 * 7);
  CHECK(kept.control.images_run == 1 + 10);
}

TEST_CASE("tokens move in few copies: none of them belongs to one image") {
  test::FakeImages images(64);
  const RoundSizes sizes{.batch = 16, .positions = 16, .images = 32};
  Fixture fixture(images, {"a", "b"}, sizes, kMuch, false);
  fixture.take(64);  // two rounds: every image is kept
  const int64_t before = fixture.control.copies;
  fixture.take(1);
  // Two taps: one gather a tap fills the round, one a tap takes the batch; row numbers and their order go up.
  CHECK(fixture.control.copies - before == 2 + 2 + 2);
  CHECK(fixture.control.images_run == 1 + 64);
}

TEST_CASE("a cache that does not fit is done without, one that fits is within its budget") {
  test::FakeImages images(10);
  test::FakeControl control{.host = false};
  const Device device = test::fake_device(control);
  const std::vector<TapExtent> taps{{16, 8}, {4, 6}};
  const int64_t image = 4 * (16 * 8 + 4 * 6);
  ActivationCache cache(device.backend(), taps, {5 * image + 3, 2 * image}, 10);
  CHECK(cache.image_bytes() == image);
  CHECK(cache.device_capacity() == 5);
  CHECK(cache.host_capacity() == 2);
  CHECK(control.memory_used == 5 * image);
  for (int64_t i = 0; i < 7; ++i) {
    const auto place = cache.add(100 + i);
    REQUIRE(place);
    CHECK(place->on_device == (i < 5));
    CHECK(place->entry == (i < 5 ? i : i - 5));
    CHECK(cache.find(100 + i)->entry == place->entry);
  }
  CHECK_FALSE(cache.add(107));
  CHECK_FALSE(cache.find(107));
  CHECK(cache.device_tokens(1).shape == std::array<int64_t, 2>{20, 6});
  CHECK(ActivationCache(device.backend(), taps, {1 << 30, 0}, 3).device_capacity() == 3);

  test::FakeControl full{.host = false, .memory_bytes = 3 * image};
  const Device small = test::fake_device(full);
  ActivationCache none(small.backend(), taps, {5 * image, image}, 10);
  CHECK(none.device_capacity() == 0);
  CHECK(none.host_capacity() == 1);
  CHECK(full.memory_used == 0);
}

TEST_CASE("a round holds its images' tokens, each at most once, in the same order for every tap") {
  test::FakeImages images(10);
  Fixture both(images, {"a", "b"}, kSizes, kMuch), alone(images, {"b"}, kSizes, kMuch);
  const auto batches = both.take(4);
  const auto tokens = token_set(batches, 1, 12);
  CHECK(tokens.size() == 96);
  CHECK(std::set(tokens.begin(), tokens.end()).size() == 96);
  const auto lonely = alone.take(4);
  for (size_t i = 0; i < 4; ++i) CHECK(lonely[i][0] == batches[i][1]);
}

TEST_CASE("over an epoch's worth of rounds all tokens of all images are seen") {
  test::FakeImages images(6);
  // 6 images of 16 tokens a round, 96 tokens, 4 batches: nothing dropped, each round an epoch.
  Fixture fixture(images, {"a"}, {.batch = 24, .positions = 16, .images = 6}, kMuch);
  const auto first = token_set(fixture.take(4), 0, 8), second = token_set(fixture.take(4), 0, 8);
  CHECK(first == second);
  CHECK(fixture.rounds.place() == RoundPlace{2, {2, 0}, 0});  // the third round draws another order
  CHECK(first.size() == 96);
}

TEST_CASE("going on from any place gives the batches that follow") {
  test::FakeImages images(10);
  images.unreadable[4] = "broken";
  Fixture whole(images, {"a", "b"}, kSizes, kMuch);
  for (int64_t stop = 0; stop < 13; ++stop) {
    Fixture before(images, {"a", "b"}, kSizes, kNone);
    before.take(stop);
    Fixture after(images, {"a", "b"}, kSizes, kMuch);
    for (const SkippedImage& image : before.skipped.list()) after.skipped.restore(image.index, image.reason);
    after.rounds.seek(before.rounds.place());
    CHECK(after.take(5) == before.take(5));
  }
}

TEST_CASE("unreadable images are left out, whether known before or found on the way") {
  test::FakeImages images(10);
  images.unreadable = {{1, "broken"}, {7, "empty"}, {8, "truncated"}};
  Fixture found(images, {"a"}, kSizes, kMuch), known(images, {"a"}, kSizes, kNone);
  for (int64_t index : {1, 7, 8}) known.skipped.restore(index, "known");
  const auto expected = found.take(12);
  CHECK(known.take(12) == expected);
  CHECK(found.rounds.place() == known.rounds.place());
  CHECK(found.skipped.list().size() == 3);
  CHECK(found.skipped.list()[1].reason == "empty");
  CHECK(found.skipped.list()[1].name == "image7.jpg");
}

TEST_CASE("more than half unreadable is an error, exactly half is not") {
  test::FakeImages images(6);
  for (int64_t i : {0, 2, 4}) images.unreadable[i] = "broken";
  Fixture half(images, {"a"}, {.batch = 24, .positions = 16, .images = 6}, kMuch);
  CHECK_NOTHROW(half.take(4));
  images.unreadable[5] = "broken";
  Fixture most(images, {"a"}, {.batch = 24, .positions = 16, .images = 6}, kMuch);
  CHECK_THROWS_AS(most.rounds.prepare(*most.stream, [](int64_t, int64_t) { return true; }), InputError);
  const std::vector<int64_t> considered = Fixture::all(images);
  SkippedImages strict(images, considered, true);
  CHECK_THROWS_AS(strict.add(0, "broken"), InputError);
}

TEST_CASE("a stop while the buffer fills leaves the place as it was") {
  test::FakeImages images(10);
  Fixture stopped(images, {"a"}, kSizes, kMuch), whole(images, {"a"}, kSizes, kMuch);
  stopped.take(4);
  whole.take(4);
  const RoundPlace before = stopped.rounds.place();
  for (int64_t calls = 0; calls < 2; ++calls) {
    int64_t left = calls;
    CHECK_FALSE(stopped.rounds.prepare(*stopped.stream, [&](int64_t, int64_t) { return left-- > 0; }));
    CHECK(stopped.rounds.place() == before);
  }
  CHECK(stopped.take(5) == whole.take(5));
}

TEST_CASE("taps on different grids give as many tokens each") {
  test::FakeImages images(10);
  const RoundSizes sizes{.batch = 6, .positions = 4, .images = 5};
  Fixture kept(images, {"a", "c"}, sizes, kMuch), none(images, {"a", "c"}, sizes, kNone, false, true);
  CHECK(kept.forward.positions(0) == 16);
  CHECK(kept.forward.positions(1) == 4);
  const auto batches = kept.take(9);
  CHECK(batches[0][0].size() == 6 * 8);
  CHECK(batches[0][1].size() == 6 * 6);
  CHECK(none.take(9) == batches);
}
