#include "loader/labels.h"

#include <algorithm>
#include <charconv>

namespace branchsae {
namespace {

constexpr size_t kWordNetIdLength = 9;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// The index that `text` spells, -1 when it is no class index of this list.
int32_t class_index(const ClassList& classes, std::string_view text) {
  int32_t index = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size()) return -1;
  return index >= 0 && index < classes.size() ? index : -1;
}

/// The WordNet id that begins a name and is followed by its end or one of `separators`; else empty.
std::string_view leading_wordnet_id(std::string_view name, std::string_view separators) {
  const std::string_view id = name.substr(0, kWordNetIdLength);
  if (!is_wordnet_id(id)) return {};
  if (name.size() > id.size() && separators.find(name[id.size()]) == std::string_view::npos) return {};
  return id;
}

}  // namespace

bool is_wordnet_id(std::string_view text) {
  return text.size() == kWordNetIdLength && text[0] == 'n' &&
         std::all_of(text.begin() + 1, text.end(), is_digit);
}

Label find_label(const ClassList& classes, const LabelHints& hints) {
  Label label;
  if (const std::string_view written = trimmed(hints.written); !written.empty()) {
    label.index = is_wordnet_id(written) ? classes.find(written) : class_index(classes, written);
    label.unknown = label.index < 0;
    return label;
  }
  for (const std::string_view id :
       {leading_wordnet_id(hints.folder, "_-"), leading_wordnet_id(hints.file, "_.")}) {
    if (id.empty()) continue;
    label.index = classes.find(id);
    label.unknown = label.index < 0;
    if (label.index >= 0) return label;
  }
  if (!label.unknown && hints.folder_may_be_index) label.index = class_index(classes, hints.folder);
  return label;
}

}  // namespace branchsae
