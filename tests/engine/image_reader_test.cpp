#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "engine/error.h"
#include "engine/images.h"

using namespace branchsae;

namespace {

/// Image i is four bytes that spell i; images in `unreadable` give a reason, `fatal` throws.
class NumberedImages : public ImageSource {
 public:
  explicit NumberedImages(int64_t count) : infos_(static_cast<size_t>(count)) {
    for (int64_t i = 0; i < count; ++i) infos_[static_cast<size_t>(i)].name = "image " + std::to_string(i);
  }
  int64_t size() const override { return static_cast<int64_t>(infos_.size()); }
  const ImageInfo& info(int64_t index) const override { return infos_.at(static_cast<size_t>(index)); }
  PixelFormat format() const override { return PixelFormat::kU8Rgb; }
  int64_t height() const override { return 2; }
  int64_t width() const override { return 2; }
  int64_t channels() const override { return 1; }
  std::string fingerprint() const override { return ""; }
  std::string read(int64_t index, void* dst, const CropDraw&) const override {
    const int now = ++reading;
    for (int seen = most_reading; now > seen && !most_reading.compare_exchange_weak(seen, now);) {
    }
    ++reads;
    // Uneven times make the threads finish out of order.
    if (uneven) std::this_thread::sleep_for(std::chrono::microseconds((index * 7919) % 300));
    std::this_thread::sleep_for(delay);
    --reading;
    if (index == fatal) throw std::runtime_error("disk on fire");
    if (unreadable && unreadable(index)) return "no good";
    const auto value = static_cast<int32_t>(index);
    std::memcpy(dst, &value, sizeof value);
    return "";
  }

  std::function<bool(int64_t)> unreadable;
  int64_t fatal = -1;
  bool uneven = true;
  std::chrono::milliseconds delay{0};
  mutable std::atomic<int> reading{0}, most_reading{0};
  mutable std::atomic<int64_t> reads{0};

 private:
  std::vector<ImageInfo> infos_;
};

/// 0, 1, ... count - 1, then the same again `epochs` times.
std::function<int64_t()> in_order(int64_t count, int64_t epochs = 1) {
  return [=, position = int64_t{0}]() mutable {
    return position < count * epochs ? position++ % count : int64_t{-1};
  };
}

/// Reads all; checks that every batch but the last is full and that pixels belong to the indices.
std::vector<int64_t> read_all(ImageReader& reader, int64_t batch_size) {
  std::vector<int64_t> indices;
  ImageBatch batch;
  bool last = false;
  while (reader.next(batch)) {
    REQUIRE_FALSE(last);
    REQUIRE(batch.count == static_cast<int64_t>(batch.indices.size()));
    REQUIRE(batch.count <= batch_size);
    last = batch.count < batch_size;
    for (int64_t i = 0; i < batch.count; ++i) {
      int32_t value = -1;
      std::memcpy(&value, static_cast<const char*>(batch.pixels) + 4 * i, sizeof value);
      REQUIRE(value == batch.indices[static_cast<size_t>(i)]);
    }
    indices.insert(indices.end(), batch.indices.begin(), batch.indices.end());
  }
  CHECK(batch.count == 0);
  CHECK_FALSE(reader.next(batch));
  return indices;
}

std::vector<int64_t> numbers(int64_t count) {
  std::vector<int64_t> result(static_cast<size_t>(count));
  std::iota(result.begin(), result.end(), 0);
  return result;
}

}  // namespace

TEST_CASE("batches come in the sequence's order for any batch size and number of threads") {
  const NumberedImages source(101);
  for (const int threads : {1, 2, 5}) {
    for (const int64_t batch : {1, 7, 100, 101, 102}) {
      for (const int ahead : {1, 3}) {
        CAPTURE(threads);
        CAPTURE(batch);
        ImageReader reader(source, in_order(101), {batch, threads, ahead, {}});
        CHECK(read_all(reader, batch) == numbers(101));
      }
    }
  }
}

TEST_CASE("unreadable images are left out, batches stay full, each is reported once and in order") {
  NumberedImages source(60);
  source.unreadable = [](int64_t i) { return i % 5 == 0 || (i > 20 && i < 44); };
  std::vector<int64_t> expected, expected_reports;
  for (int64_t i = 0; i < 60; ++i) (source.unreadable(i) ? expected_reports : expected).push_back(i);
  std::vector<int64_t> twice = expected;
  twice.insert(twice.end(), expected.begin(), expected.end());

  for (const int64_t batch : {1, 4, 9, 64}) {
    CAPTURE(batch);
    std::vector<int64_t> reports;
    ImageReader reader(source, in_order(60, 2), {batch, 3, 1, [&](int64_t index, const std::string& reason) {
                                                   CHECK(reason == "no good");
                                                   reports.push_back(index);
                                                 }});
    CHECK(read_all(reader, batch) == twice);
    CHECK(reports == expected_reports);
  }
}

TEST_CASE("pixels lie in the memory that the caller gave, and nothing beside it is touched") {
  NumberedImages source(50);
  source.unreadable = [](int64_t i) { return i % 7 == 3; };
  ImageReader::Options options;
  options.batch = 4;
  options.threads = 3;
  options.batches_ahead = 2;
  const int64_t bytes = ImageReader::ring_bytes(source, options), guard = 64;
  CHECK(bytes >= 3 * 4 * source.image_bytes());
  std::vector<unsigned char> memory(static_cast<size_t>(bytes + 2 * guard), 0xAB);
  options.memory = memory.data() + guard;
  {
    ImageReader reader(source, in_order(50), options);
    ImageBatch batch;
    int64_t images = 0;
    while (reader.next(batch)) {
      const auto* pixels = static_cast<const unsigned char*>(batch.pixels);
      CHECK(pixels >= memory.data() + guard);
      CHECK(pixels + batch.count * source.image_bytes() <= memory.data() + guard + bytes);
      for (int64_t i = 0; i < batch.count; ++i) CHECK(pixels[4 * i] == batch.indices[static_cast<size_t>(i)]);
      images += batch.count;
    }
    CHECK(images == 43);
  }
  for (int64_t i = 0; i < guard; ++i) {
    CHECK(memory[static_cast<size_t>(i)] == 0xAB);
    CHECK(memory[static_cast<size_t>(guard + bytes + i)] == 0xAB);
  }
}

TEST_CASE("an empty sequence and a set without a readable image end") {
  NumberedImages source(5);
  source.unreadable = [](int64_t) { return true; };
  ImageReader nothing(source, [] { return int64_t{-1}; }, {});
  ImageBatch batch;
  CHECK_FALSE(nothing.next(batch));

  ImageReader one_pass(source, in_order(5), {});
  CHECK_FALSE(one_pass.next(batch));

  ImageReader for_ever(source, in_order(5, 1'000'000), {});
  CHECK_THROWS_AS(for_ever.next(batch), InputError);
}

TEST_CASE("decoding stays within the ring however slow the consumer is") {
  NumberedImages source(1000);
  source.uneven = false;
  ImageReader reader(source, in_order(1000), {4, 3, 2, {}});
  ImageBatch batch;
  REQUIRE(reader.next(batch));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(source.reads <= 4 * (2 + 1));  // the batch handed out and two ahead
  CHECK(source.most_reading <= 3);
}

TEST_CASE("times tell a slow consumer from slow decoding") {
  NumberedImages source(60);
  source.unreadable = [](int64_t i) { return i >= 50; };
  source.uneven = false;
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
  ReaderTimes slow_consumer, slow_decoding;
  {
    ImageReader reader(source, in_order(60), {5, 2, 1, {}});
    ImageBatch batch;
    while (reader.next(batch)) pause();
    slow_consumer = reader.times();
  }
  source.delay = std::chrono::milliseconds(2);
  {
    ImageReader reader(source, in_order(60), {5, 2, 1, {}});
    ImageBatch batch;
    while (reader.next(batch)) {
    }
    slow_decoding = reader.times();
  }
  // Ten pauses of 5 ms in which two threads find no room; 30 images of 2 ms on each of two threads.
  CHECK(slow_consumer.idle_seconds > 0.03);
  CHECK(slow_decoding.wait_seconds > 0.03);
  CHECK(slow_consumer.wait_seconds < slow_decoding.wait_seconds);
  CHECK(slow_decoding.decode_seconds < 0.05);  // processor time: asleep does not count
  for (const ReaderTimes& times : {slow_consumer, slow_decoding}) {
    CHECK(times.decode_seconds > 0);
    CHECK(times.images == 50);
    CHECK(times.bytes == 50 * source.image_bytes());
  }
}

TEST_CASE("an error of the source reaches the consumer once its turn comes") {
  NumberedImages source(20);
  source.fatal = 9;
  ImageReader reader(source, in_order(20), {4, 3, 2, {}});
  ImageBatch batch;
  CHECK(reader.next(batch));
  CHECK(reader.next(batch));
  CHECK_THROWS_WITH(reader.next(batch), "disk on fire");
}

TEST_CASE("an error of the sequence reaches the consumer and ends it") {
  const NumberedImages source(20);
  const auto failing_sequence = [position = int64_t{0}]() mutable -> int64_t {
    if (position == 6) throw InputError("no order");
    return position++;
  };
  ImageReader reader(source, failing_sequence, {4, 3, 2, {}});
  ImageBatch batch;
  CHECK(reader.next(batch));
  CHECK_THROWS_WITH(reader.next(batch), "no order");
  CHECK_FALSE(reader.next(batch));

  ImageReader outside(source, [] { return int64_t{20}; }, {});
  CHECK_THROWS_AS(outside.next(batch), Error);
}

TEST_CASE("an error of the report reaches the consumer") {
  NumberedImages source(20);
  source.unreadable = [](int64_t i) { return i == 5; };
  ImageReader strict(source, in_order(20),
                     {4, 3, 2, [](int64_t, const std::string& reason) { throw InputError(reason); }});
  ImageBatch batch;
  CHECK(strict.next(batch));
  CHECK_THROWS_AS(strict.next(batch), InputError);
}

TEST_CASE("a reader can be dropped at any moment") {
  const NumberedImages source(200);
  for (int round = 0; round < 30; ++round) {
    ImageReader reader(source, in_order(200), {8, 4, 2, {}});
    ImageBatch batch;
    for (int i = 0; i < round % 4; ++i) reader.next(batch);
  }
  CHECK(source.reading == 0);
}

TEST_CASE("absurd options are refused") {
  const NumberedImages source(3);
  CHECK_THROWS_AS(ImageReader(source, in_order(3), {0, 1, 1, {}}), InputError);
  CHECK_THROWS_AS(ImageReader(source, in_order(3), {1, 0, 1, {}}), InputError);
  CHECK_THROWS_AS(ImageReader(source, in_order(3), {1, 1, 0, {}}), InputError);
  CHECK_THROWS_AS(ImageReader(source, in_order(3), {int64_t{1} << 60, 1, 1, {}}), InputError);
}
