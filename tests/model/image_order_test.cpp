#include "model/image_order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"
#include "model/image_sequence.h"
#include "tests/model/fake_device.h"

using namespace branchsae;
using namespace branchsae::model;

namespace {

/// `count` shards of `size` places each, in order.
ShardPlaces shards_of(int count, int size) {
  ShardPlaces shards(static_cast<size_t>(count));
  for (int i = 0; i < count * size; ++i) shards[static_cast<size_t>(i / size)].push_back(i);
  return shards;
}

bool is_permutation_of_all(std::vector<int32_t> order, int64_t count) {
  std::vector<int32_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  std::ranges::sort(order);
  return order == all;
}

}  // namespace

TEST_CASE("an order by shards is a permutation, the same for equal seed and epoch only") {
  for (const auto& [count, size, buffer] : {std::array{1, 1, 1}, std::array{3, 5, 1}, std::array{3, 5, 4},
                                            std::array{4, 100, 64}, std::array{4, 100, 100'000}}) {
    const ShardPlaces shards = shards_of(count, size);
    const auto order = order_by_shards(shards, buffer, 7, 0);
    CHECK(is_permutation_of_all(order, count * size));
    CHECK(order == order_by_shards(shards, buffer, 7, 0));
    if (count * size < 15) continue;
    CHECK(order != order_by_shards(shards, buffer, 7, 1));
    CHECK(order != order_by_shards(shards, buffer, 8, 0));
  }
}

TEST_CASE(
    "with a buffer of one, shards come whole, each in its file's order, in any order among themselves") {
  const ShardPlaces shards = shards_of(6, 10);
  std::vector<int> first_shards(6, 0);
  for (int64_t epoch = 0; epoch < 60; ++epoch) {
    const auto order = order_by_shards(shards, 1, 3, epoch);
    ++first_shards[static_cast<size_t>(order[0] / 10)];
    for (size_t i = 0; i < order.size(); ++i) {
      CHECK(order[i] % 10 == static_cast<int32_t>(i % 10));
      CHECK(order[i] / 10 == order[i - i % 10] / 10);
    }
  }
  for (const int times : first_shards) CHECK(times > 0);
}

TEST_CASE("reads stay near each other, and the buffer mixes what it holds") {
  constexpr int kShards = 4, kSize = 1000, kBuffer = 200;
  const auto order = order_by_shards(shards_of(kShards, kSize), kBuffer, 1, 0);
  // Where each place would come without the buffer.
  const auto unbuffered = order_by_shards(shards_of(kShards, kSize), 1, 1, 0);
  std::vector<int64_t> file_position(order.size());
  for (size_t i = 0; i < unbuffered.size(); ++i)
    file_position[static_cast<size_t>(unbuffered[i])] = static_cast<int64_t>(i);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t position = file_position[static_cast<size_t>(order[i])];
    // Never read further ahead than the buffer reaches.
    CHECK(position < static_cast<int64_t>(i) + kBuffer);
    const auto displacement = static_cast<double>(static_cast<int64_t>(i) - position);
    sum += displacement;
    squares += displacement * displacement;
  }
  // A place leaves the buffer at each step with probability 1 / kBuffer: the standard deviation of its
  // displacement is about kBuffer; the mean is 0, as any permutation's is.
  CHECK(sum == 0);
  const double deviation = std::sqrt(squares / static_cast<double>(order.size()));
  CHECK(deviation > 0.7 * kBuffer);
  CHECK(deviation < 1.3 * kBuffer);
  // Neighbours in the file are apart afterwards.
  std::vector<int64_t> place_of(order.size());
  for (size_t i = 0; i < order.size(); ++i) place_of[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  double apart = 0;
  for (int i = 1; i < kSize; ++i) {
    const int64_t a = place_of[static_cast<size_t>(i)], b = place_of[static_cast<size_t>(i - 1)];
    apart += static_cast<double>(std::abs(a - b)) / (kSize - 1);
  }
  CHECK(apart > 0.5 * kBuffer);
}

TEST_CASE("an epoch by shards can be entered anywhere") {
  std::vector<int64_t> images;
  for (int64_t i = 0; i < 60; i += 2) images.push_back(i);
  test::FakeImages source(60);
  source.shard_size = 20;
  const auto make = [&] { return ImageSequence(images, places_by_shard(source, images), 7, 5); };
  ImageSequence whole = make();
  std::vector<int64_t> seen;
  for (int i = 0; i < 90; ++i) seen.push_back(whole.next().image);
  for (const SequencePlace place : {SequencePlace{0, 11}, SequencePlace{2, 3}, SequencePlace{1, 29}}) {
    ImageSequence entered = make();
    entered.seek(place);
    for (int64_t i = place.epoch * 30 + place.position; i < 90; ++i)
      CHECK(entered.next().image == seen[static_cast<size_t>(i)]);
  }
  std::vector<int64_t> epoch(seen.begin(), seen.begin() + 30);
  std::ranges::sort(epoch);
  CHECK(epoch == images);
}

TEST_CASE("auto means shards where there are two or more") {
  test::FakeImages images(40);
  CHECK(resolve_order(ImageOrder::kAuto, images) == ImageOrder::kRandom);
  CHECK_THROWS_AS(resolve_order(ImageOrder::kShards, images), InputError);
  images.shard_size = 40;
  CHECK(resolve_order(ImageOrder::kAuto, images) == ImageOrder::kRandom);
  CHECK(resolve_order(ImageOrder::kShards, images) == ImageOrder::kShards);
  images.shard_size = 20;
  CHECK(resolve_order(ImageOrder::kAuto, images) == ImageOrder::kShards);
  CHECK(resolve_order(ImageOrder::kRandom, images) == ImageOrder::kRandom);
  for (const char* name : {"auto", "random", "shards"}) CHECK(to_string(parse_image_order(name)) == name);
  CHECK_THROWS_AS(parse_image_order("Shards"), InputError);
}
