#include "model/tensorboard_log.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>

#include "engine/error.h"
#include "engine/files.h"
#include "model/crc32c.h"
#include "model/run_files.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;

constexpr size_t kHead = 12, kTail = 4;  // bytes before and after a record's data
constexpr const char* kPrefix = "events.out.tfevents.";

/// A message that `fill` writes.
template <class Fill>
std::string message(const Fill& fill) {
  std::string bytes;
  {
    StringOutputStream sink(&bytes);
    CodedOutputStream out(&sink);
    fill(out);
  }
  return bytes;
}

std::string value_message(const std::string& tag, double value) {
  return message([&](CodedOutputStream& out) {
    WireFormatLite::WriteString(1, tag, &out);
    WireFormatLite::WriteFloat(2, static_cast<float>(value), &out);
  });
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string first_event() {
  return message([](CodedOutputStream& out) {
    WireFormatLite::WriteDouble(1, now(), &out);
    WireFormatLite::WriteString(3, "brain.Event:2", &out);
  });
}

/// A checksum of its own bytes would be of no use, so it is stored rotated and shifted.
uint32_t masked(uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

std::string little_endian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xFFU);
  return text;
}

uint64_t from_little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

/// The data of the record that `bytes` begins with; unset when it is cut off or damaged.
std::optional<std::string_view> first_record(std::string_view bytes) {
  if (bytes.size() < kHead + kTail) return std::nullopt;
  const std::string_view length = bytes.substr(0, 8);
  if (from_little_endian(bytes.substr(8, 4)) != masked(crc32c(length))) return std::nullopt;
  const uint64_t size = from_little_endian(length);
  if (size > bytes.size() - kHead - kTail) return std::nullopt;
  const std::string_view data = bytes.substr(kHead, size);
  if (from_little_endian(bytes.substr(kHead + size, kTail)) != masked(crc32c(data))) return std::nullopt;
  return data;
}

/// Events without a step have step 0.
int64_t step_of(std::string_view event) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(event.data()), static_cast<int>(event.size()));
  while (const uint32_t tag = in.ReadTag()) {
    uint64_t step = 0;
    if (WireFormatLite::GetTagFieldNumber(tag) == 2 && in.ReadVarint64(&step))
      return static_cast<int64_t>(step);
    if (!WireFormatLite::SkipField(&in, tag)) break;
  }
  return 0;
}

/// The whole records of steps up to last_step, in order.
std::string kept_records(std::string_view bytes, int64_t last_step) {
  std::string kept;
  while (const auto data = first_record(bytes)) {
    const size_t size = kHead + data->size() + kTail;
    if (step_of(*data) <= last_step) kept += bytes.substr(0, size);
    bytes.remove_prefix(size);
  }
  return kept;
}

/// The folder's event file; a new name when it has none.
fs::path event_file(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with(kPrefix)) found.push_back(entry.path());
  }
  if (!found.empty()) return *std::ranges::min_element(found);
  return folder / fmt::format("{}{:010}.branchsae", kPrefix, static_cast<int64_t>(now()));
}

}  // namespace

std::string tf_record(std::string_view data) {
  const std::string length = little_endian(data.size(), 8);
  return length + little_endian(masked(crc32c(length)), 4) + std::string(data) +
         little_endian(masked(crc32c(data)), 4);
}

TensorboardLog::TensorboardLog(const fs::path& folder, int64_t last_step) {
  make_folder(folder);
  remove_leftovers(folder);
  path_ = event_file(folder);
  const std::string old = fs::exists(path_) ? read_file(path_) : "";
  std::string kept = kept_records(old, last_step);
  if (kept.empty()) kept = tf_record(first_event());
  if (kept != old) write_text(path_, kept);
}

void TensorboardLog::append(int64_t step, const TapProgress& progress, double tokens_per_second) {
  const std::pair<const char*, double> figures[] = {
      {"loss", progress.loss}, {"fvu", progress.fvu},          {"l0", progress.l0},
      {"dead", progress.dead}, {"lr", progress.learning_rate}, {"tokens_per_s", tokens_per_second}};
  const std::string summary = message([&](CodedOutputStream& out) {
    for (const auto& [tag, value] : figures) WireFormatLite::WriteBytes(1, value_message(tag, value), &out);
  });
  const std::string record = tf_record(message([&](CodedOutputStream& out) {
    WireFormatLite::WriteDouble(1, now(), &out);
    WireFormatLite::WriteInt64(2, step, &out);
    WireFormatLite::WriteBytes(5, summary, &out);
  }));
  before_file_change("append", path_);
  errno = 0;
  std::ofstream stream(path_, std::ios::app | std::ios::binary);
  stream << record << std::flush;
  if (!stream) throw IoError(fmt::format("cannot write '{}': {}", path_.string(), std::strerror(errno)));
}

}  // namespace branchsae::model
