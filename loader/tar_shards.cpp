#include "loader/tar_shards.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "engine/error.h"
#include "engine/log.h"
#include "loader/image_file.h"

namespace branchsae::loader {
namespace {

constexpr int64_t kTarBlock = 512;
constexpr size_t kReadBytes = 32 * 1024;  // short, as all but the headers is skipped
constexpr int64_t kMaxLabelBytes = 256;

/// One image of the tar, and the label that stands beside it.
struct Member {
  std::string name;
  int64_t offset = 0;
  int64_t bytes = 0;
  uint64_t header = 0;
};

/// Name without folders up to the first dot, folders included: WebDataset's key.
std::string_view sample_key(std::string_view name) {
  const size_t dot = name.find('.', name.rfind('/') + 1);
  return name.substr(0, dot);
}

std::string_view without_extension(std::string_view name) {
  return name.substr(0, name.rfind('.'));
}

class ShardReader {
 public:
  ShardReader(const std::string& path, int64_t max_unpacked_bytes)
      : path_(path),
        max_unpacked_bytes_(max_unpacked_bytes),
        file_(open(path)),
        archive_(archive_read_new()) {
    if (!archive_) throw Error("libarchive cannot start");
    archive_read_support_format_tar(archive_.get());
    archive_read_support_filter_gzip(archive_.get());
    archive_read_support_filter_bzip2(archive_.get());
    archive_read_support_filter_xz(archive_.get());
    archive_read_support_filter_zstd(archive_.get());
    archive_read_support_filter_lz4(archive_.get());
    if (file_.size() == 0) fail("is empty", 0);
    if (archive_read_open_fd(archive_.get(), file_.descriptor(), kReadBytes) != ARCHIVE_OK) fail_with_cause();
  }

  void run() {
    archive_entry* entry = nullptr;
    for (;;) {
      const int status = archive_read_next_header(archive_.get(), &entry);
      if (status == ARCHIVE_EOF) break;
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail_with_cause();
      take(entry);
    }
    if (!compressed()) check_end();
  }

  std::vector<Member> images;
  std::unordered_map<std::string, std::string> labels;  ///< text of NAME.cls by NAME
  std::string unpacked;
  bool compressed() const { return archive_filter_count(archive_.get()) > 1; }

 private:
  static RegularFile open(const std::string& path) {
    try {
      return RegularFile(path);
    } catch (const InputError& error) {
      throw InputError(fmt::format("'{}' {}", printable_path(path), error.what()));
    }
  }

  [[noreturn]] void fail(const std::string& what, int64_t byte) const {
    throw DamagedShard(
        fmt::format("tar '{}' {} (byte {} of {})", printable_path(path_), what, byte, file_.size()));
  }

  [[noreturn]] void fail_with_cause() const {
    const char* cause = archive_error_string(archive_.get());
    fail(fmt::format("is damaged, cut off or no tar: {}", cause == nullptr ? "unknown cause" : cause),
         archive_filter_bytes(archive_.get(), -1));
  }

  void take(archive_entry* entry) {
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr) return;
    // The first gives a name's own bytes; it is null where a UTF-8 name does not fit the locale.
    const char* raw = archive_entry_pathname(entry);
    if (raw == nullptr) raw = archive_entry_pathname_utf8(entry);
    if (raw == nullptr) return;
    std::string name = raw;
    while (name.starts_with("./")) name.erase(0, 2);
    if (base_name(name).starts_with('.')) return;

    const bool label = name.ends_with(".cls");
    if (!label && !has_image_extension(name)) return;
    Member member{name, archive_filter_bytes(archive_.get(), 0), archive_entry_size(entry)};
    if (!compressed() && member.bytes > file_.size() - member.offset) {
      fail(fmt::format("is cut off inside '{}', which needs {} bytes", printable_path(name), member.bytes),
           member.offset);
    }
    if (label) {
      labels[std::string(without_extension(name))] = read_data(std::min(member.bytes, kMaxLabelBytes));
      return;
    }
    if (archive_entry_sparse_count(entry) > 0) {
      log(LogLevel::kWarning, fmt::format("left out, as it is stored as a sparse file: {}/{}",
                                          printable_path(path_), printable_path(name)));
      return;
    }
    if (compressed()) {
      unpack(member);
    } else {
      member.header = header_mark(file_, member.offset);
    }
    images.push_back(std::move(member));
  }

  std::string read_data(int64_t count) {
    std::string data(static_cast<size_t>(count), '\0');
    for (int64_t done = 0; done < count;) {
      const la_ssize_t got =
          archive_read_data(archive_.get(), data.data() + done, static_cast<size_t>(count - done));
      if (got < 0) fail_with_cause();
      if (got == 0) fail("is cut off", archive_filter_bytes(archive_.get(), -1));
      done += got;
    }
    return data;
  }

  void unpack(Member& member) {
    const auto used = static_cast<int64_t>(unpacked.size());
    if (member.bytes > max_unpacked_bytes_ - used) {
      throw InputError(fmt::format("compressed tar '{}' holds more than {} bytes of images; unpack it first",
                                   printable_path(path_), max_unpacked_bytes_));
    }
    member.offset = used;
    unpacked += read_data(member.bytes);
  }

  /// A tar ends in zeros. Where they are missing it was cut between two entries, or never finished.
  void check_end() const {
    if (images.empty()) return;
    const Member& last = *std::ranges::max_element(images, {}, &Member::offset);
    const int64_t end = (last.offset + last.bytes + kTarBlock - 1) / kTarBlock * kTarBlock;
    if (file_.size() < end + kTarBlock) {
      log(LogLevel::kWarning,
          fmt::format("tar '{}' has no end mark; it may have been cut off", printable_path(path_)));
    }
  }

  struct Free {
    void operator()(archive* pointer) const noexcept { archive_read_free(pointer); }
  };
  std::string path_;
  int64_t max_unpacked_bytes_;
  RegularFile file_;
  std::unique_ptr<archive, Free> archive_;
};

/// Leaves out companions: key.mask.png where key.jpg is there.
void drop_companions(std::vector<Member>& images) {
  std::unordered_set<std::string> keys;
  for (const Member& image : images) {
    if (sample_key(image.name) == without_extension(image.name)) keys.emplace(sample_key(image.name));
  }
  std::erase_if(images, [&](const Member& image) {
    return sample_key(image.name) != without_extension(image.name) &&
           keys.contains(std::string(sample_key(image.name)));
  });
}

std::string label_of(const ShardReader& shard, std::string_view name) {
  for (const std::string_view key : {without_extension(name), sample_key(name)}) {
    const auto found = shard.labels.find(std::string(key));
    if (found != shard.labels.end()) return found->second;
  }
  return "";
}

void list_members(ShardReader& reader, bool strict) {
  try {
    reader.run();
  } catch (const DamagedShard& damage) {
    if (strict || reader.images.empty()) throw;
    log(LogLevel::kWarning,
        fmt::format("{}; the {} images before it are kept", damage.what(), reader.images.size()));
  }
}

}  // namespace

uint64_t header_mark(const RegularFile& file, int64_t offset) {
  // Name, size and time of the member, and the checksum of the whole header.
  constexpr int64_t kMarked = 156;
  std::string mark(kMarked, '\0');
  file.read(offset - kTarBlock, kMarked, mark.data());
  return std::hash<std::string>{}(mark);
}

std::string lost_in_shard(const std::string& path, const ImageEntry& entry) {
  const std::string shard = fmt::format("shard '{}'", printable_path(path));
  try {
    const RegularFile file(path);
    if (entry.offset + entry.bytes > file.size()) {
      return fmt::format("{} was cut off at byte {}", shard, file.size());
    }
    if (header_mark(file, entry.offset) != entry.header) return shard + " holds something else by now";
    return "";
  } catch (const InputError& error) {
    return fmt::format("{} {}", shard, error.what());
  }
}

Shard read_shard(const std::string& path, int64_t max_unpacked_bytes, Labeller& labeller, bool strict) {
  ShardReader reader(path, max_unpacked_bytes);
  list_members(reader, strict);
  drop_companions(reader.images);
  std::ranges::stable_sort(reader.images, {}, &Member::name);

  Shard shard;
  const std::string_view folder = parent_path(path);
  shard.listing.prefix =
      printable_path(path.substr(0, folder.size() + (path.find('/') != path.npos ? 1 : 0)));
  for (const Member& image : reader.images) {
    ImageEntry entry;
    entry.info.name = printable_path(path + "/" + image.name);
    const std::string label = label_of(reader, image.name);
    entry.info.label = labeller.label({.written = label,
                                       .folder = base_name(parent_path(image.name)),
                                       .file = base_name(image.name),
                                       .folder_may_be_index = true},
                                      entry.info.name);
    entry.offset = image.offset;
    entry.bytes = image.bytes;
    entry.header = image.header;
    shard.listing.entries.push_back(std::move(entry));
  }
  if (reader.compressed()) shard.unpacked = std::make_shared<const std::string>(std::move(reader.unpacked));
  return shard;
}

bool is_tar(const std::string& path, std::string_view head) {
  const std::string_view name = base_name(path);
  constexpr std::array<std::string_view, 6> kCompressed = {".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".tlz4"};
  if (name.ends_with(".tar") || name.find(".tar.") != name.npos) return true;
  if (std::ranges::any_of(kCompressed, [&](std::string_view ending) { return name.ends_with(ending); })) {
    return true;
  }
  return head.size() >= 262 && head.substr(257, 5) == "ustar";
}

}  // namespace branchsae::loader
