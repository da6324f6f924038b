#include "model/cache_shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#define XXH_INLINE_ALL  // a header alone: nothing to link, here or in what links us
#include <xxhash.h>

#include "engine/error.h"
#include "engine/file_handle.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian");

constexpr std::array<char, 8> kMagic{'B', 'S', 'A', 'E', 'A', 'C', 'T', 'S'};
constexpr uint32_t kVersion = 1;
constexpr int64_t kPage = 4096, kRecordAlignment = 64;

struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t element_bytes = 0;
  int64_t number = 0, images = 0, positions = 0, width = 0;
  uint64_t tap_hash = 0;
  uint64_t checksum = 0;  ///< of the bytes before
};
static_assert(sizeof(Header) == 64 && sizeof(ShardEntry) == 16);

constexpr auto kHeaderBytes = static_cast<int64_t>(sizeof(Header));
constexpr auto kEntryBytes = static_cast<int64_t>(sizeof(ShardEntry));

constexpr int64_t rounded_up(int64_t value, int64_t step) {
  return (value + step - 1) / step * step;
}

uint64_t checksum_of(const Header& header) {
  return XXH3_64bits(&header, sizeof(Header) - sizeof(header.checksum));
}

uint64_t checksum_of(const void* record, int64_t size_bytes, int64_t image) {
  return XXH3_64bits_withSeed(record, static_cast<size_t>(size_bytes), static_cast<XXH64_hash_t>(image));
}

Header header_of(const ShardLayout& layout, int64_t number) {
  Header header;
  header.element_bytes = static_cast<uint32_t>(element_bytes(layout.precision));
  header.number = number;
  header.images = layout.images;
  header.positions = layout.positions;
  header.width = layout.width;
  header.tap_hash = layout.tap_hash;
  header.checksum = checksum_of(header);
  return header;
}

/// What a header that is not the one we expect tells: a power cut may leave zeros.
ShardTable judge_header(const Header& found) {
  if (found.magic == kMagic && found.checksum == checksum_of(found))
    return {ShardTable::State::kForeign, {}, "it is a shard of another tap, place or version"};
  const std::array<char, sizeof(Header)> zeros{};
  if (found.magic == kMagic || std::memcmp(&found, zeros.data(), zeros.size()) == 0)
    return {ShardTable::State::kDamaged, {}, "its header is damaged"};
  return {ShardTable::State::kForeign, {}, "it is no shard of activations"};
}

/// Entries whose records lie beyond the end of the file do not count. Returns how many there were.
int64_t drop_missing(std::vector<ShardEntry>& entries, const ShardLayout& layout, int64_t size_bytes) {
  int64_t dropped = 0;
  for (int64_t slot = 0; slot < layout.images; ++slot) {
    ShardEntry& entry = entries[static_cast<size_t>(slot)];
    if (entry.image_and_one == 0 || layout.record_offset(slot) + layout.record_bytes() <= size_bytes)
      continue;
    entry = {};
    ++dropped;
  }
  return dropped;
}

}  // namespace

int64_t ShardLayout::record_offset(int64_t slot) const {
  return rounded_up(kHeaderBytes + images * kEntryBytes, kPage) +
         slot * rounded_up(record_bytes(), kRecordAlignment);
}

uint64_t hash_of_name(std::string_view name) {
  return XXH3_64bits(name.data(), name.size());
}

ShardTable read_shard_table(const fs::path& path, const ShardLayout& layout, int64_t number) {
  const auto file = FileHandle::open_for_reading(path);
  if (!file) {
    if (errno == ENOENT) return {};
    return {ShardTable::State::kForeign, {}, fmt::format("it cannot be read: {}", std::strerror(errno))};
  }
  Header found;
  std::memset(static_cast<void*>(&found), 0, sizeof(found));
  if (file->read_at(0, &found, kHeaderBytes) < 0)
    return {ShardTable::State::kForeign, {}, fmt::format("it cannot be read: {}", std::strerror(errno))};
  const Header expected = header_of(layout, number);
  if (std::memcmp(&found, &expected, sizeof(Header)) != 0) return judge_header(found);

  ShardTable table{ShardTable::State::kGood, std::vector<ShardEntry>(static_cast<size_t>(layout.images)), ""};
  file->read_at(kHeaderBytes, table.entries.data(), layout.images * kEntryBytes);
  const int64_t size_bytes = file->size_bytes();
  const int64_t dropped = drop_missing(table.entries, layout, size_bytes);
  if (dropped > 0) {
    table.problem = fmt::format("it is cut off at {} of {} bytes, {} image{} lost", size_bytes,
                                layout.file_bytes(), dropped, dropped == 1 ? "" : "s");
  }
  return table;
}

void create_shard(const fs::path& path, const ShardLayout& layout, int64_t number) {
  const fs::path temporary = path.string() + ".tmp";
  try {
    const FileHandle file = FileHandle::create(temporary);
    file.allocate(layout.file_bytes());
    const Header header = header_of(layout, number);
    file.write_at(0, &header, kHeaderBytes);
    std::error_code error;
    fs::rename(temporary, path, error);
    if (error) throw IoError(fmt::format("cannot rename onto '{}': {}", path.string(), error.message()));
  } catch (const IoError&) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

std::string read_record(const fs::path& path, const ShardLayout& layout, int64_t image,
                        const ShardEntry& entry, std::vector<char>& scratch, float* tokens) {
  const auto file = FileHandle::open_for_reading(path);
  if (!file) return errno == ENOENT ? "the file is gone" : std::strerror(errno);
  const int64_t bytes = layout.record_bytes();
  const bool as_it_is = layout.precision == CachePrecision::kF32;
  if (!as_it_is) scratch.resize(static_cast<size_t>(bytes));
  void* record = as_it_is ? static_cast<void*>(tokens) : scratch.data();
  const int64_t got = file->read_at(layout.record_offset(image % layout.images), record, bytes);
  if (got < 0) return std::strerror(errno);
  if (got < bytes) return "the file is cut off";
  if (entry.image_and_one != static_cast<uint64_t>(image) + 1) return "the table names another image";
  if (checksum_of(record, bytes, image) != entry.checksum) return "the checksum is wrong";
  if (!as_it_is) unpack_tokens(record, layout.values(), layout.precision, tokens);
  return "";
}

ShardEntry write_record(const fs::path& path, const ShardLayout& layout, int64_t image, const float* tokens,
                        std::vector<char>& scratch) {
  const int64_t slot = image % layout.images;
  const void* record = tokens;
  if (layout.precision != CachePrecision::kF32) {
    scratch.resize(static_cast<size_t>(layout.record_bytes()));
    pack_tokens(tokens, layout.values(), layout.precision, scratch.data());
    record = scratch.data();
  }
  const ShardEntry entry{static_cast<uint64_t>(image) + 1, checksum_of(record, layout.record_bytes(), image)};
  const FileHandle file = FileHandle::open_for_writing(path);
  file.write_at(layout.record_offset(slot), record, layout.record_bytes());
  file.write_at(kHeaderBytes + slot * kEntryBytes, &entry, kEntryBytes);
  return entry;
}

void expect_record(const fs::path& path, const ShardLayout& layout, int64_t image) {
  const auto file = FileHandle::open_for_reading(path);
  if (file) file->expect(layout.record_offset(image % layout.images), layout.record_bytes());
}

}  // namespace branchsae::model
