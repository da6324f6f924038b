#include "loader/image_listing.h"

#include <fmt/format.h>

#include <filesystem>

#include "engine/error.h"
#include "engine/log.h"
#include "loader/image_file.h"

namespace branchsae::loader {
namespace fs = std::filesystem;

Labeller::Labeller(std::shared_ptr<const ClassList> classes)
    : classes_(classes ? std::move(classes) : builtin_class_list()) {}

int32_t Labeller::label(const LabelHints& hints, const std::string& image_name) {
  const Label found = find_label(*classes_, hints);
  if (found.index >= 0) ++labels_;
  if (found.unknown && unknown_++ == 0) first_unknown_ = image_name;
  return found.index;
}

void Labeller::check_known(bool refuse) const {
  if (unknown_ == 0) return;
  if (refuse && labels_ == 0) {
    throw InputError(fmt::format(
        "none of the {} labels is in the class list ({}), the first is of {}; give the list of these classes",
        unknown_, classes_->source(), first_unknown_));
  }
  log(LogLevel::kWarning,
      fmt::format(
          "{} of {} labels are not in the class list ({}) and count as unlabelled; the first is of {}",
          unknown_, labels_ + unknown_, classes_->source(), first_unknown_));
}

ImageListing list_single(const std::string& path, Labeller& labeller) {
  ImageEntry entry;
  entry.info.name = printable_path(path);
  if (entry.info.name != path) entry.path = path;
  std::error_code ignored;
  const auto bytes = fs::file_size(path, ignored);
  entry.bytes = ignored ? -1 : static_cast<int64_t>(bytes);
  const std::string folder = fs::absolute(path).lexically_normal().parent_path().filename();
  entry.info.label = labeller.label({.folder = folder, .file = base_name(path)}, entry.info.name);
  const std::string_view parent = parent_path(path);
  ImageListing listing;
  listing.prefix = printable_path(path.substr(0, parent.empty() ? 0 : parent.size() + 1));
  listing.entries.push_back(std::move(entry));
  return listing;
}

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

std::string_view parent_path(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

}  // namespace branchsae::loader
