#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/error.h"
#include "engine/files.h"
#include "loader/image_file.h"
#include "loader/image_listing.h"

namespace branchsae::loader {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMaxListBytes = int64_t{1} << 30;
constexpr std::string_view kBlanks = " \t\r\v\f";

struct ListLine {
  std::string path;  ///< as written
  std::string label;
  int64_t bytes = -1;  ///< of the file; -1 when there is none
};

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string resolved(const std::string& folder, std::string_view path) {
  return path.starts_with('/') ? std::string(path) : folder + std::string(path);
}

int64_t file_bytes(const std::string& path) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  return error ? -1 : static_cast<int64_t>(bytes);
}

/// A path may hold spaces itself: the line as a whole is tried before its last word is taken for a label.
ListLine parse_line(std::string_view line, const std::string& folder) {
  const size_t tab = line.find('\t');
  if (tab != std::string_view::npos) {
    const std::string_view path = trimmed(line.substr(0, tab));
    return {std::string(path), std::string(trimmed(line.substr(tab + 1))),
            file_bytes(resolved(folder, path))};
  }
  const int64_t whole_bytes = file_bytes(resolved(folder, line));
  const size_t blank = line.find_last_of(kBlanks);
  if (whole_bytes < 0 && blank != std::string_view::npos) {
    const std::string_view path = trimmed(line.substr(0, blank));
    const std::string_view label = line.substr(blank + 1);
    const bool is_label = is_wordnet_id(label) || label.find_first_not_of("0123456789") == label.npos;
    const int64_t bytes = file_bytes(resolved(folder, path));
    if (bytes >= 0 || is_label) return {std::string(path), std::string(label), bytes};
  }
  return {std::string(line), "", whole_bytes};
}

std::vector<ListLine> parse_list(std::string_view text, const std::string& folder,
                                 const std::string& source) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<ListLine> lines;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] == '#') continue;
    if (line.find('\0') != std::string_view::npos) {
      throw InputError(fmt::format("{}:{}: is no text; a list of images has a path a line", source, number));
    }
    lines.push_back(parse_line(line, folder));
  }
  return lines;
}

}  // namespace

ImageListing list_text(const std::string& path, Labeller& labeller) {
  const std::string_view parent = parent_path(path);
  const std::string folder =
      path.substr(0, path.starts_with('/') && parent.empty() ? 1 : parent.size() + !parent.empty());
  std::vector<ListLine> lines = parse_list(read_file(path, kMaxListBytes), folder, printable_path(path));
  if (!lines.empty() && std::ranges::all_of(lines, [](const ListLine& line) { return line.bytes < 0; })) {
    throw InputError(fmt::format("none of the {} files that list '{}' names exists (the first: '{}')",
                                 lines.size(), printable_path(path),
                                 printable_path(resolved(folder, lines[0].path))));
  }
  std::ranges::stable_sort(lines, {}, &ListLine::path);

  ImageListing listing;
  listing.prefix = printable_path(folder);
  for (const ListLine& line : lines) {
    ImageEntry entry;
    const std::string file = resolved(folder, line.path);
    entry.info.name = printable_path(file);
    if (entry.info.name != file) entry.path = file;
    entry.bytes = line.bytes;
    const std::string_view above = parent_path(line.path);
    entry.info.label = labeller.label({.written = line.label,
                                       .folder = base_name(above),
                                       .file = base_name(line.path),
                                       .folder_may_be_index = true},
                                      entry.info.name);
    listing.entries.push_back(std::move(entry));
  }
  return listing;
}

}  // namespace branchsae::loader
