#pragma once
/// One file of a disk cache: a tap's tokens of some consecutive images. All numbers are little-endian.
///
///     bytes 0..63     header: magic, version, what it holds, a checksum of the header itself
///     then            a table with an entry of 16 bytes an image: image index + 1 (0: not there), checksum
///     then            at a multiple of 4,096, the records: positions x width tokens, each at a multiple of
///     64
///
/// A record is written before its entry, so a process that dies in between leaves an image that is not there.
/// The checksum is XXH3 (64 bits, seed: the image index) of the record; it tells a cut, a flipped bit and
/// another image's tokens. Source: Collet, "XXH3", xxHash 0.8.
///
/// Records are read by pread into our memory and not mapped: touching a mapped page of a file that somebody
/// cut off meanwhile kills the process, and no handler of a library may catch that. The copy is what the
/// tokens need anyway on their way to the buffer, and hardly shows beside the checksum of the same bytes.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "model/cache_numbers.h"

namespace branchsae::model {

struct ShardLayout {
  int64_t images = 0;  ///< a shard
  int64_t positions = 0, width = 0;
  CachePrecision precision = CachePrecision::kF32;
  uint64_t tap_hash = 0;  ///< of the tap's name

  int64_t values() const { return positions * width; }
  int64_t record_bytes() const { return values() * element_bytes(precision); }
  int64_t record_offset(int64_t slot) const;
  int64_t file_bytes() const { return record_offset(images); }
};

/// Where an image's record is and what it must be like.
struct ShardEntry {
  uint64_t image_and_one = 0;  ///< 0: not there
  uint64_t checksum = 0;
};

uint64_t hash_of_name(std::string_view name);

/// A shard's table, or why it cannot be used.
struct ShardTable {
  enum class State {
    kAbsent,   ///< no such file
    kGood,     ///< entries are set
    kDamaged,  ///< ours, but its header is not what it was: to be made anew
    kForeign   ///< somebody else's, or of another tap or layout: not to be touched
  } state = State::kAbsent;
  std::vector<ShardEntry> entries;  ///< [layout.images]
  std::string problem;  ///< one clause; also of a good table whose file is cut off, when that lost an image
};
ShardTable read_shard_table(const std::filesystem::path& path, const ShardLayout& layout, int64_t number);

/// Makes an empty shard with room for all records, in place of what has this name. Throws IoError (a full
/// disk); then there is no file.
void create_shard(const std::filesystem::path& path, const ShardLayout& layout, int64_t number);

/// Reads an image's record to tokens [positions * width]; `scratch` is resized as needed. Returns an empty
/// string, or what is wrong with it as one clause; the tokens are then undefined.
std::string read_record(const std::filesystem::path& path, const ShardLayout& layout, int64_t image,
                        const ShardEntry& entry, std::vector<char>& scratch, float* tokens);

/// Writes an image's tokens and returns the entry that they got. Throws IoError.
ShardEntry write_record(const std::filesystem::path& path, const ShardLayout& layout, int64_t image,
                        const float* tokens, std::vector<char>& scratch);

/// Tells the system that the record will be read soon.
void expect_record(const std::filesystem::path& path, const ShardLayout& layout, int64_t image);

}  // namespace branchsae::model
