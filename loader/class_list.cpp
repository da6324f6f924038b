#include "loader/class_list.h"

#include <algorithm>
#include <charconv>

#include "engine/error.h"
#include "engine/files.h"
#include "loader/imagenet_classes.h"

namespace branchsae {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{64} << 20;
constexpr int32_t kMaxClasses = 1'000'000;

struct Line {
  int32_t index;
  ClassInfo info;
};

/// Splits INDEX <tab> WORDNET_ID <tab> NAMES. `where` names file and line.
Line parse_line(std::string_view text, const std::string& where) {
  const size_t first = text.find('\t');
  const size_t second = first == std::string_view::npos ? first : text.find('\t', first + 1);
  Line line{};
  const std::string_view index = text.substr(0, first);
  const auto [end, error] = std::from_chars(index.data(), index.data() + index.size(), line.index);
  if (second == std::string_view::npos || error != std::errc() || end != index.data() + index.size()) {
    throw InputError(where +
                     ": expected INDEX <tab> WORDNET_ID <tab> NAMES, as in 0<tab>n01440764<tab>tench");
  }
  if (line.index < 0 || line.index >= kMaxClasses) {
    throw InputError(where + ": class index " + std::to_string(line.index) + " is not within 0 .. " +
                     std::to_string(kMaxClasses - 1));
  }
  const std::string_view id = text.substr(first + 1, second - first - 1);
  if (id != "-") line.info.wordnet_id = id;
  line.info.names = text.substr(second + 1);
  return line;
}

/// Lines of a table, each with its number, without line ends, comments and empty lines.
template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!line.empty() && line[0] != '#') visit(line, number);
  }
}

std::shared_ptr<const ClassList> parse_class_list(std::string_view text, const std::string& source) {
  std::vector<ClassInfo> classes;
  std::vector<bool> present;
  int64_t count = 0;
  for_each_line(text, [&](std::string_view text_line, int64_t number) {
    const std::string where = source + ":" + std::to_string(number);
    Line line = parse_line(text_line, where);
    const auto index = static_cast<size_t>(line.index);
    if (index >= classes.size()) {
      classes.resize(index + 1);
      present.resize(index + 1);
    }
    if (present[index]) throw InputError(where + ": class index " + std::to_string(index) + " stands twice");
    classes[index] = std::move(line.info);
    present[index] = true;
    ++count;
  });
  if (count == 0)
    throw InputError(source + ": no class in it; expected lines INDEX <tab> WORDNET_ID <tab> NAMES");
  for (size_t index = 0; index < present.size(); ++index) {
    if (!present[index]) {
      throw InputError(source + ": class index " + std::to_string(index) + " is missing (the largest is " +
                       std::to_string(present.size() - 1) + ")");
    }
  }
  return std::make_shared<ClassList>(std::move(classes), source);
}

}  // namespace

ClassList::ClassList(std::vector<ClassInfo> classes, std::string source)
    : classes_(std::move(classes)), source_(std::move(source)) {
  for (size_t index = 0; index < classes_.size(); ++index) {
    const std::string& id = classes_[index].wordnet_id;
    if (id.empty()) continue;
    const auto [other, added] = by_id_.emplace(id, static_cast<int32_t>(index));
    if (!added) {
      throw InputError(source_ + ": classes " + std::to_string(other->second) + " and " +
                       std::to_string(index) + " have the same WordNet id " + id);
    }
  }
}

std::string ClassList::short_name(int64_t index) const {
  const std::string& names = at(index).names;
  return names.substr(0, names.find(','));
}

int32_t ClassList::find(std::string_view wordnet_id) const {
  const auto found = by_id_.find(std::string(wordnet_id));
  return found == by_id_.end() ? -1 : found->second;
}

std::shared_ptr<const ClassList> load_class_list(const std::filesystem::path& path) {
  return parse_class_list(read_file(path, kMaxFileBytes), path.string());
}

std::shared_ptr<const ClassList> builtin_class_list() {
  static const std::shared_ptr<const ClassList> list = [] {
    std::vector<ClassInfo> classes;
    for (const loader::ImagenetClass& entry : loader::imagenet_classes()) {
      classes.push_back({std::string(entry.wordnet_id), std::string(entry.names)});
    }
    return std::make_shared<const ClassList>(std::move(classes), "built-in");
  }();
  return list;
}

std::shared_ptr<const ClassList> choose_class_list(const std::optional<std::filesystem::path>& classes_file,
                                                   const std::filesystem::path& model_file) {
  if (classes_file) return load_class_list(*classes_file);
  const std::filesystem::path beside = model_file.parent_path() / "imagenet_classes.tsv";
  std::error_code ignored;
  if (std::filesystem::exists(beside, ignored)) return load_class_list(beside);
  return builtin_class_list();
}

}  // namespace branchsae
