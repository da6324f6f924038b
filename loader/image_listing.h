#pragma once
/// The images of one folder, list or shard, before any is decoded.
#include <cstdint>
#include <string>
#include <vector>

#include "engine/images.h"
#include "loader/class_list.h"
#include "loader/labels.h"

namespace branchsae::loader {

struct ImageEntry {
  ImageInfo info;
  std::string path;     ///< of the file, where info.name had to be escaped; else empty
  int64_t offset = 0;   ///< in the shard, bytes
  int64_t bytes = -1;   ///< encoded size; -1 when unknown
  uint64_t header = 0;  ///< of a plain shard's image: header_mark(), so that another file is noticed
};

struct ImageListing {
  /// Leading part of the names that only says where the set lies: no part of the fingerprint.
  std::string prefix;
  std::vector<ImageEntry> entries;
};

/// Finds labels, and counts those that the class list does not know.
class Labeller {
 public:
  explicit Labeller(std::shared_ptr<const ClassList> classes);
  int32_t label(const LabelHints& hints, const std::string& image_name);
  /// One warning when there were unknown labels. Throws InputError when all are, and `refuse`.
  void check_known(bool refuse) const;

 private:
  std::shared_ptr<const ClassList> classes_;
  int64_t labels_ = 0, unknown_ = 0;
  std::string first_unknown_;
};

/// Every image in `root` and below, as open_images describes.
ImageListing list_folder(const std::string& root, Labeller& labeller);
/// The single image at `path`.
ImageListing list_single(const std::string& path, Labeller& labeller);
/// The lines of a text list. Throws InputError naming file and line; also when no line names an existing
/// file.
ImageListing list_text(const std::string& path, Labeller& labeller);

/// Part of a path after the last '/' and before it.
std::string_view base_name(std::string_view path);
std::string_view parent_path(std::string_view path);

}  // namespace branchsae::loader
