// Event files, read back by a decoder of this test's own.
#include "model/tensorboard_log.h"

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <map>

#include "engine/error.h"
#include "engine/files.h"
#include "model/crc32c.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

struct Event {
  double wall_time = 0;
  int64_t step = 0;
  std::string version;
  std::map<std::string, float> values;
};

/// Bit by bit, without a table.
uint32_t slow_crc(const std::string& bytes) {
  uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? (crc >> 1) ^ 0x82F63B78U : crc >> 1;
  }
  return crc ^ 0xFFFFFFFFU;
}

uint32_t unmasked(uint32_t stored) {
  const uint32_t rotated = stored - 0xa282ead8U;
  return (rotated >> 17) | (rotated << 15);
}

template <class T>
T take(std::string& bytes) {
  REQUIRE(bytes.size() >= sizeof(T));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.erase(0, sizeof(T));
  return value;
}

uint64_t take_varint(std::string& bytes) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(take<char>(bytes));
    value |= static_cast<uint64_t>(byte & 0x7FU) << shift;
    if (byte < 0x80) return value;
  }
}

std::string take_bytes(std::string& bytes, uint64_t count) {
  REQUIRE(bytes.size() >= count);
  const std::string taken = bytes.substr(0, count);
  bytes.erase(0, count);
  return taken;
}

void read_value(std::string bytes, Event& event) {
  std::string tag;
  while (!bytes.empty()) {
    const uint64_t key = take_varint(bytes);
    if (key == (1 << 3 | 2)) {
      tag = take_bytes(bytes, take_varint(bytes));
    } else {
      REQUIRE(key == (2 << 3 | 5));
      event.values[tag] = take<float>(bytes);
    }
  }
}

Event read_event(std::string bytes) {
  Event event;
  while (!bytes.empty()) {
    const uint64_t key = take_varint(bytes);
    if (key == (1 << 3 | 1)) {
      event.wall_time = take<double>(bytes);
    } else if (key == (2 << 3 | 0)) {
      event.step = static_cast<int64_t>(take_varint(bytes));
    } else if (key == (3 << 3 | 2)) {
      event.version = take_bytes(bytes, take_varint(bytes));
    } else {
      REQUIRE(key == (5 << 3 | 2));
      std::string summary = take_bytes(bytes, take_varint(bytes));
      while (!summary.empty()) {
        REQUIRE(take_varint(summary) == (1 << 3 | 2));
        read_value(take_bytes(summary, take_varint(summary)), event);
      }
    }
  }
  return event;
}

/// The only event file of the folder.
fs::path event_file(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  REQUIRE(files.size() == 1);
  CHECK(files[0].filename().string().starts_with("events.out.tfevents."));
  return files[0];
}

std::vector<Event> read_events(const fs::path& folder) {
  std::string bytes = read_file(event_file(folder));
  std::vector<Event> events;
  while (!bytes.empty()) {
    const std::string length = bytes.substr(0, 8);
    const auto size = take<uint64_t>(bytes);
    CHECK(unmasked(take<uint32_t>(bytes)) == slow_crc(length));
    const std::string data = take_bytes(bytes, size);
    CHECK(unmasked(take<uint32_t>(bytes)) == slow_crc(data));
    events.push_back(read_event(data));
  }
  return events;
}

std::vector<int64_t> steps_of(const std::vector<Event>& events) {
  std::vector<int64_t> steps;
  for (const Event& event : events) {
    if (event.version.empty()) steps.push_back(event.step);
  }
  return steps;
}

}  // namespace

TEST_CASE("CRC-32C has the values of RFC 3720, B.4") {
  CHECK(model::crc32c("123456789") == 0xe3069283U);
  CHECK(model::crc32c(std::string(32, '\0')) == 0x8a9136aaU);
  CHECK(model::crc32c(std::string(32, '\xff')) == 0x62a8ab43U);
  std::string rising;
  for (char i = 0; i < 32; ++i) rising += i;
  CHECK(model::crc32c(rising) == 0x46dd794eU);
  CHECK(model::crc32c(std::string(rising.rbegin(), rising.rend())) == 0x113fdb5cU);
  CHECK(model::crc32c("") == 0);
}

TEST_CASE("an event has every figure of a log line") {
  const fs::path folder = temporary_folder() / "tensorboard";
  model::TensorboardLog log(folder, 0);
  log.append(int64_t{1} << 40, {"a", 1.5, 0.25, 31.5, 0.125, 1e-3}, 12345);
  const std::vector<Event> events = read_events(folder);
  REQUIRE(events.size() == 2);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[1].step == int64_t{1} << 40);
  CHECK(events[1].wall_time > 1.6e9);
  CHECK(events[1].values == std::map<std::string, float>{{"loss", 1.5F},
                                                         {"fvu", 0.25F},
                                                         {"l0", 31.5F},
                                                         {"dead", 0.125F},
                                                         {"lr", 1e-3F},
                                                         {"tokens_per_s", 12345.0F}});
}

TEST_CASE("a file that goes on has no step twice, and loses what is damaged") {
  const fs::path folder = temporary_folder() / "tensorboard";
  {
    model::TensorboardLog log(folder, 0);
    for (int64_t step = 4; step <= 20; step += 4) log.append(step, {}, 0);
  }
  model::TensorboardLog(folder, 14).append(16, {}, 0);
  CHECK(steps_of(read_events(folder)) == std::vector<int64_t>{4, 8, 12, 16});
  const fs::path file = event_file(folder);
  fs::resize_file(file, fs::file_size(file) - 3);
  model::TensorboardLog(folder, 100).append(16, {}, 0);
  CHECK(steps_of(read_events(folder)) == std::vector<int64_t>{4, 8, 12, 16});
  std::string bytes = read_file(file);
  bytes[bytes.size() - 6] ^= 1;
  std::ofstream(file, std::ios::binary) << bytes;
  model::TensorboardLog again(folder, 100);
  CHECK(steps_of(read_events(folder)) == std::vector<int64_t>{4, 8, 12});
}

TEST_CASE("a run writes events beside metrics.jsonl, and goes on with them") {
  const FakeImages images(40);
  TrainOptions options = small_options(temporary_folder() / "run");
  options.tensorboard = true;
  run_job(options, images, stop_after(9));
  options.resume = true;
  run_job(options, images);
  for (const char* tap : {"a", "b"}) {
    CHECK(steps_of(read_events(options.out / tap / "tensorboard")) == std::vector<int64_t>{4, 8, 12, 14});
    CHECK(fs::exists(options.out / tap / "metrics.jsonl"));
  }
  TrainOptions plain = small_options(temporary_folder() / "run");
  run_job(plain, images);
  CHECK_FALSE(fs::exists(plain.out / "a" / "tensorboard"));
}
