#include "model/disk_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/file_handle.h"
#include "engine/files.h"
#include "engine/log.h"
#include "engine/taps.h"
#include "model/size_text.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

/// Stays free whatever --cache-size says, so that checkpoints still fit: half a GiB, or a twentieth of a
/// small disk.
int64_t reserve_of(const DiskSpace& space) {
  return std::min(int64_t{512} << 20, space.total_bytes / 20);
}

int64_t shards_of(int64_t images, int64_t images_per_shard) {
  return (images + images_per_shard - 1) / images_per_shard;
}

/// Of all shards below the folder, also those of taps that this run does not have.
int64_t bytes_in(const fs::path& folder) {
  int64_t bytes = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, error)) {
    if (entry.path().extension() == ".act") bytes += static_cast<int64_t>(entry.file_size(error));
  }
  return bytes;
}

int64_t size_of(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

}  // namespace

DiskCache::DiskCache(const DiskCacheOptions& options, const CacheIdentity& identity,
                     const std::vector<CachedTap>& taps, const ImageSource& images)
    : options_(options), images_(images) {
  std::error_code error;
  if (fs::exists(options_.folder, error) && !fs::is_directory(options_.folder, error)) {
    throw InputError(fmt::format("--cache '{}' is a file where a folder is expected; give another name",
                                 options_.folder.string()));
  }
  if (!fs::exists(options_.folder, error)) make_writable_folder(options_.folder);
  take_lock();
  open_manifest(identity, taps);
  rooms_.resize(static_cast<size_t>(shards_of(images.size(), options_.images_per_shard)));
  for (const CachedTap& tap : taps) open_tap(tap, images.size());
  set_limit();
}

DiskCache::~DiskCache() {
  log(LogLevel::kInfo, fmt::format("cache '{}': {} reads of an image, {} images stored, {} damaged; {} in it",
                                   options_.folder.string(), images_read_.load(), images_stored_,
                                   images_damaged_.load(), size_text(used_bytes_)));
}

void DiskCache::take_lock() {
  if (::access(options_.folder.c_str(), W_OK | X_OK) != 0) {
    log(LogLevel::kWarning, fmt::format("the cache '{}' is not writable: it is read, nothing is added to it",
                                        options_.folder.string()));
    return;
  }
  lock_ = std::make_unique<FolderLock>(options_.folder / "lock");
  writes_ = lock_->held();
  if (writes_) return;
  log(LogLevel::kWarning,
      fmt::format("the cache '{}' is being written to by {}: this run reads what is there and adds nothing",
                  options_.folder.string(), lock_->owner()));
}

std::optional<CacheManifest> DiskCache::find_manifest() {
  try {
    return read_manifest(options_.folder);
  } catch (const DamagedManifest& damage) {
    log(LogLevel::kWarning, fmt::format("the cache '{}' is not used: {}; training goes on without it, delete "
                                        "the folder to have it made anew",
                                        options_.folder.string(), damage.what()));
    damaged_ = true;
    return std::nullopt;
  }
}

/// Two processes that begin at once: the one without the lock may find nothing yet, and does without.
void DiskCache::open_manifest(const CacheIdentity& identity, const std::vector<CachedTap>& taps) {
  CacheManifest manifest{options_.precision, options_.images_per_shard, identity, {}};
  const auto found = find_manifest();
  writes_ = writes_ && !damaged_;
  if (found) {
    check_same_cache(options_.folder, *found, manifest);
    manifest = *found;
  }
  options_.images_per_shard = manifest.images_per_shard;
  const bool added = add_taps(options_.folder, manifest, taps);
  if (writes_ && (added || !found)) write_manifest(options_.folder, manifest);
}

void DiskCache::open_tap(const CachedTap& tap, int64_t images) {
  TapShards shards;
  shards.folder = tap_file_name(tap.name);
  shards.layout = {options_.images_per_shard, tap.extent.positions, tap.extent.width, options_.precision,
                   hash_of_name(tap.name)};
  shards.entries.resize(static_cast<size_t>(images));
  shards.foreign.resize(rooms_.size());
  if (writes_) make_writable_folder(options_.folder / shards.folder);
  for (int64_t number = 0; number < static_cast<int64_t>(rooms_.size()) && !damaged_; ++number)
    read_table(shards, number);
  taps_.push_back(std::move(shards));
}

void DiskCache::read_table(TapShards& tap, int64_t number) {
  const fs::path path = path_of(tap, number);
  const ShardTable table = read_shard_table(path, tap.layout, number);
  if (!table.problem.empty()) {
    const bool foreign = table.state == ShardTable::State::kForeign;
    complained_.insert(path);
    log(LogLevel::kWarning,
        fmt::format("cache: '{}': {}; {}", path.string(), table.problem,
                    foreign ? "it is left alone and its images are not kept; delete it to have it made anew"
                            : "what it lacks is computed anew"));
    tap.foreign[static_cast<size_t>(number)] = foreign;
  }
  const auto first = static_cast<size_t>(number * tap.layout.images);
  const size_t count = std::min(table.entries.size(), tap.entries.size() - first);
  std::copy_n(table.entries.begin(), count, tap.entries.begin() + static_cast<std::ptrdiff_t>(first));
}

void DiskCache::set_limit() {
  used_bytes_ = bytes_in(options_.folder);
  limit_bytes_ = options_.limit_bytes;
  if (limit_bytes_ == 0 && writes_)
    limit_bytes_ = used_bytes_ + disk_space(options_.folder).free_bytes / 5 * 4;
}

fs::path DiskCache::path_of(const TapShards& tap, int64_t number) const {
  return options_.folder / tap.folder / fmt::format("{:05}.act", number);
}

bool DiskCache::holds(int64_t image) const {
  return std::ranges::all_of(taps_, [image](const TapShards& tap) {
    return tap.entries[static_cast<size_t>(image)].image_and_one != 0;
  });
}

bool DiskCache::read(int64_t image, std::span<float* const> tokens) {
  std::vector<char> scratch;
  for (size_t i = 0; i < taps_.size(); ++i) {
    TapShards& tap = taps_[i];
    ShardEntry& entry = tap.entries[static_cast<size_t>(image)];
    const fs::path path = path_of(tap, image / tap.layout.images);
    const std::string problem = read_record(path, tap.layout, image, entry, scratch, tokens[i]);
    if (problem.empty()) continue;
    complain(tap, image, problem);
    entry = {};
    ++images_damaged_;
    return false;
  }
  ++images_read_;
  return true;
}

/// The first trouble with a file is said; what follows from it, as of a file that is gone, is not.
void DiskCache::complain(const TapShards& tap, int64_t image, const std::string& problem) {
  const fs::path path = path_of(tap, image / tap.layout.images);
  const std::lock_guard lock(complaints_);
  const bool first = complained_.insert(path).second;
  log(first ? LogLevel::kWarning : LogLevel::kDebug,
      fmt::format("cache: '{}', image '{}': {}; its activations are computed anew", path.string(),
                  images_.info(image).name, problem));
}

void DiskCache::expect(int64_t image) const {
  for (const TapShards& tap : taps_) {
    expect_record(path_of(tap, image / tap.layout.images), tap.layout, image);
  }
}

void DiskCache::store(int64_t image, std::span<const float* const> tokens) {
  if (!writes_ || holds(image)) return;
  try {
    const int64_t number = image / options_.images_per_shard;
    if (!make_room(number)) return;
    for (size_t i = 0; i < taps_.size(); ++i) {
      TapShards& tap = taps_[i];
      ShardEntry& entry = tap.entries[static_cast<size_t>(image)];
      if (entry.image_and_one != 0) continue;  // of an earlier run with other taps
      entry = write_record(path_of(tap, number), tap.layout, image, tokens[i], scratch_);
    }
    ++images_stored_;
  } catch (const IoError& error) {
    stop_writing(error.what());
  }
}

/// Whether all taps have a shard of this number, which is asked for at every image: somebody may delete it.
bool DiskCache::make_room(int64_t number) {
  Room& room = rooms_[static_cast<size_t>(number)];
  if (room == Room::kNone) return false;
  const bool known = room == Room::kThere;
  room = Room::kNone;
  for (const TapShards& tap : taps_) {
    if (tap.foreign[static_cast<size_t>(number)] || !make_shard(tap, number, known)) return false;
  }
  room = Room::kThere;
  return true;
}

/// known: the file was good when it was looked at before.
bool DiskCache::make_shard(const TapShards& tap, int64_t number, bool known) {
  const fs::path path = path_of(tap, number);
  const int64_t there = size_of(path), missing = tap.layout.file_bytes() - there;
  if (known && missing <= 0) return true;
  const bool good = read_shard_table(path, tap.layout, number).state == ShardTable::State::kGood;
  if (good && missing <= 0) return true;
  if (!may_add(missing)) return false;
  if (good) {
    FileHandle::open_for_writing(path).allocate(tap.layout.file_bytes());
  } else {
    create_shard(path, tap.layout, number);
  }
  used_bytes_ += missing;
  return true;
}

/// Shards are kept whole, so that a limit below one keeps nothing.
std::string DiskCache::limit_text() const {
  int64_t one = 0;
  for (const TapShards& tap : taps_) one += tap.layout.file_bytes();
  if (one > limit_bytes_) {
    return fmt::format(
        "the cache '{}' keeps nothing: {} images, the least that it keeps, need {}, and its "
        "limit is {} (--cache-size); images are computed each time",
        options_.folder.string(), options_.images_per_shard, size_text(one), size_text(limit_bytes_));
  }
  return fmt::format(
      "the cache '{}' has reached its limit of {} (--cache-size): images beyond it are computed each time",
      options_.folder.string(), size_text(limit_bytes_));
}

/// False when the limit is reached. Throws IoError when the disk is nearly full.
bool DiskCache::may_add(int64_t bytes) {
  if (used_bytes_ + bytes > limit_bytes_) {
    if (!said_limit_) log(LogLevel::kWarning, limit_text());
    said_limit_ = true;
    return false;
  }
  const DiskSpace space = disk_space(options_.folder);
  if (space.free_bytes - bytes >= reserve_of(space)) return true;
  throw IoError(fmt::format("{} are free, and {} stay free for other files", size_text(space.free_bytes),
                            size_text(reserve_of(space))));
}

void DiskCache::stop_writing(const std::string& reason) {
  writes_ = false;
  log(LogLevel::kWarning,
      fmt::format("the cache '{}' is written to no more: {}; training goes on, images that "
                  "it lacks are computed each time",
                  options_.folder.string(), reason));
}

}  // namespace branchsae::model
