#pragma once
/// Images' tokens on disk, for later epochs and later runs: DIR/cache.json (cache_manifest.h) and
/// DIR/<tap's folder>/<number>.act (cache_shard.h), each with the records of images number * 64 and on.
///
/// Whatever happens to the files costs time only: a record that is damaged, cut off or gone is said once a
/// file and counts as absent, so that its tokens are computed anew and written again. A disk that is full
/// ends the writing with one warning, and a damaged cache.json means that nothing is read or written. Only
/// what makes the cache another one is an error, when it is opened.
///
/// One process writes; others that open the folder meanwhile read what was there when they did.
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/images.h"
#include "model/cache_manifest.h"
#include "model/cache_shard.h"
#include "model/folder_lock.h"

namespace branchsae::model {

struct DiskCacheOptions {
  std::filesystem::path folder;  ///< made when missing
  CachePrecision precision = CachePrecision::kF32;
  int64_t limit_bytes =
      0;  ///< of all shards in the folder; 0: those there are and four fifths of what is free
  int64_t images_per_shard = 64;  ///< of a new cache
};

class DiskCache {
 public:
  /// `images` outlives this; its names are for messages. Throws InputError when the folder holds a cache of
  /// something else, or something else than a cache; IoError.
  DiskCache(const DiskCacheOptions& options, const CacheIdentity& identity,
            const std::vector<CachedTap>& taps, const ImageSource& images);
  ~DiskCache();

  /// Whether all taps have the image, as far as the tables tell.
  bool holds(int64_t image) const;
  /// tokens[tap] [positions, width]: of every tap. False when a record turned out unusable; the image then
  /// counts as absent. May be called for several images at once.
  bool read(int64_t image, std::span<float* const> tokens);
  /// Keeps an image's tokens, as far as there is room.
  void store(int64_t image, std::span<const float* const> tokens);
  /// Tells the system that the image will be read soon.
  void expect(int64_t image) const;

  CachePrecision precision() const { return options_.precision; }
  /// False when another process writes, the folder is read-only, its cache.json damaged or the disk full.
  bool writes() const { return writes_; }
  int64_t images_read() const { return images_read_; }
  int64_t images_stored() const { return images_stored_; }
  int64_t images_damaged() const { return images_damaged_; }

 private:
  struct TapShards {
    std::string folder;
    ShardLayout layout;
    std::vector<ShardEntry> entries;  ///< by image
    std::vector<bool> foreign;        ///< by shard
  };
  /// What is known of the room for a shard's files.
  enum class Room : uint8_t { kUnknown, kThere, kNone };

  void take_lock();
  std::optional<CacheManifest> find_manifest();
  void open_manifest(const CacheIdentity& identity, const std::vector<CachedTap>& taps);
  void open_tap(const CachedTap& tap, int64_t images);
  void read_table(TapShards& tap, int64_t number);
  void set_limit();
  std::filesystem::path path_of(const TapShards& tap, int64_t number) const;
  bool make_room(int64_t number);
  bool make_shard(const TapShards& tap, int64_t number, bool known);
  bool may_add(int64_t bytes);
  std::string limit_text() const;
  void stop_writing(const std::string& reason);
  void complain(const TapShards& tap, int64_t image, const std::string& problem);

  DiskCacheOptions options_;
  const ImageSource& images_;
  std::unique_ptr<FolderLock> lock_;
  std::vector<TapShards> taps_;
  std::vector<Room> rooms_;  ///< by shard
  int64_t used_bytes_ = 0, limit_bytes_ = 0;
  bool writes_ = false, said_limit_ = false;
  bool damaged_ = false;  ///< cache.json is: nobody knows what the shards are of
  std::vector<char> scratch_;

  std::mutex complaints_;  ///< guards the set, and entries that read() takes back
  std::set<std::filesystem::path> complained_;
  std::atomic<int64_t> images_read_{0}, images_damaged_{0};
  int64_t images_stored_ = 0;
};

}  // namespace branchsae::model
