#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "engine/error.h"
#include "engine/log.h"
#include "loader/image_decode.h"
#include "loader/image_file.h"
#include "loader/image_listing.h"

namespace branchsae::loader {
namespace fs = std::filesystem;
namespace {

struct Found {
  std::string relative;  ///< path below the root
  int64_t bytes;         ///< -1 when it is no regular file
};

/// Walks a tree once. Folders reached by symbolic links come last, and no folder is entered twice: links can
/// neither loop nor multiply, and a file that is really there keeps its real name.
class FolderWalk {
 public:
  explicit FolderWalk(std::string root) : root_(std::move(root)) {}

  std::vector<Found> run() {
    enter("");
    while (!links_.empty()) {
      std::vector<std::string> links = std::move(links_);
      links_.clear();
      std::ranges::sort(links);
      for (const std::string& link : links) enter(link);
    }
    add_empty_folders_called_images();
    std::ranges::sort(found_, {}, &Found::relative);
    return std::move(found_);
  }

 private:
  std::string full(const std::string& relative) const {
    return relative.empty() ? root_ : root_ + (root_.ends_with('/') ? "" : "/") + relative;
  }

  void enter(const std::string& start) {
    std::vector<std::string> pending = {start};
    while (!pending.empty()) {
      const std::string folder = std::move(pending.back());
      pending.pop_back();
      struct stat status {};
      if (::stat(full(folder).c_str(), &status) != 0) continue;
      if (!entered_.emplace(status.st_dev, status.st_ino).second) continue;
      list(folder, pending);
    }
  }

  void list(const std::string& folder, std::vector<std::string>& pending) {
    std::error_code error;
    fs::directory_iterator entry(full(folder), error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (name.starts_with('.')) continue;
      visit(*entry, folder.empty() ? name : folder + "/" + name, name, pending);
    }
    if (error) {
      if (folder.empty())
        throw InputError(fmt::format("cannot list folder '{}': {}", root_, error.message()));
      log(LogLevel::kWarning,
          fmt::format("folder left out: {}: {}", printable_path(full(folder)), error.message()));
    }
  }

  void visit(const fs::directory_entry& entry, const std::string& relative, const std::string& name,
             std::vector<std::string>& pending) {
    std::error_code error;
    const fs::file_type type = entry.status(error).type();
    if (type == fs::file_type::directory) {
      if (has_image_extension(name)) folders_called_images_.push_back(relative);
      const bool is_link = entry.is_symlink(error);
      (is_link ? links_ : pending).push_back(relative);
      return;
    }
    const bool regular = type == fs::file_type::regular;
    if (!has_image_extension(name) &&
        !(regular && name.find('.') == std::string::npos && is_image(relative))) {
      return;
    }
    const auto bytes = regular ? entry.file_size(error) : 0;
    found_.push_back({relative, regular && !error ? static_cast<int64_t>(bytes) : -1});
  }

  /// A file without any extension is an image when it begins like one.
  bool is_image(const std::string& relative) const {
    try {
      const std::string head = RegularFile(full(relative)).head(16);
      return has_image_signature({reinterpret_cast<const uint8_t*>(head.data()), head.size()});
    } catch (const InputError&) {
      return false;
    }
  }

  /// A folder called photo.jpg is a folder like any other if there are images in it, else a broken image.
  void add_empty_folders_called_images() {
    const size_t files = found_.size();
    for (const std::string& folder : folders_called_images_) {
      const std::string inside = folder + "/";
      const bool used = std::any_of(found_.begin(), found_.begin() + static_cast<std::ptrdiff_t>(files),
                                    [&](const Found& found) { return found.relative.starts_with(inside); });
      if (!used) found_.push_back({folder, -1});
    }
  }

  std::string root_;
  std::vector<Found> found_;
  std::vector<std::string> links_;
  std::vector<std::string> folders_called_images_;
  std::set<std::pair<dev_t, ino_t>> entered_;
};

}  // namespace

ImageListing list_folder(const std::string& root, Labeller& labeller) {
  const std::string prefix = root.ends_with('/') ? root : root + "/";
  fs::path whole = fs::absolute(root).lexically_normal();
  const std::string root_name = (whole.has_filename() ? whole : whole.parent_path()).filename();
  ImageListing listing;
  listing.prefix = printable_path(prefix);
  std::vector<Found> found = FolderWalk(root).run();
  listing.entries.reserve(found.size());
  for (const Found& file : found) {
    const std::string path = prefix + file.relative;
    ImageEntry entry;
    entry.info.name = printable_path(path);
    if (entry.info.name != path) entry.path = path;
    entry.bytes = file.bytes;
    const std::string_view parent = parent_path(file.relative);
    entry.info.label =
        labeller.label({.folder = parent.empty() ? std::string_view(root_name) : base_name(parent),
                        .file = base_name(file.relative),
                        .folder_may_be_index = !parent.empty()},
                       entry.info.name);
    listing.entries.push_back(std::move(entry));
  }
  return listing;
}

}  // namespace branchsae::loader
