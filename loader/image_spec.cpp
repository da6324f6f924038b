#include "loader/image_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "engine/error.h"
#include "engine/spelling.h"
#include "loader/image_decode.h"
#include "loader/image_file.h"
#include "loader/image_listing.h"
#include "loader/tar_shards.h"

namespace branchsae::loader {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxExpansions = 100'000;
constexpr int64_t kMaxBraces = 50;

/// There is something of that name, be it a broken link.
bool exists(const std::string& path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() != fs::file_type::not_found && !error;
}

/// Cuts at the commas outside braces. Throws when the braces do not match.
std::vector<std::string> split_at_commas(std::string_view text, const std::string& spec) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : text) {
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (depth < 0) break;
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (depth != 0) throw InputError(fmt::format("the braces of '{}' do not match", printable_path(spec)));
  return parts;
}

/// The numbers of "000..003"; empty when it is no range.
std::vector<std::string> expand_range(std::string_view text, const std::string& spec) {
  const size_t dots = text.find("..");
  if (dots == text.npos) return {};
  const std::string_view low = text.substr(0, dots), high = text.substr(dots + 2);
  int64_t first = 0, last = 0;
  const auto parses = [](std::string_view number, int64_t& value) {
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    return !number.empty() && number[0] != '-' && error == std::errc() &&
           end == number.data() + number.size();
  };
  if (!parses(low, first) || !parses(high, last)) return {};
  if (std::max(first, last) - std::min(first, last) >= static_cast<int64_t>(kMaxExpansions)) {
    throw InputError(fmt::format("'{}' means more than {} paths", printable_path(spec), kMaxExpansions));
  }
  const bool padded = (low.size() > 1 && low[0] == '0') || (high.size() > 1 && high[0] == '0');
  const size_t width = padded ? std::max(low.size(), high.size()) : 0;
  std::vector<std::string> numbers;
  for (int64_t number = first;; number += first <= last ? 1 : -1) {
    numbers.push_back(fmt::format("{:0{}}", number, width));
    if (number == last) return numbers;
  }
}

std::vector<std::string> expand_braces(const std::string& text, const std::string& spec) {
  const size_t open = text.find('{');
  if (open == text.npos) return {text};
  size_t close = open;
  for (int depth = 0; close < text.size(); ++close) {
    depth += text[close] == '{' ? 1 : text[close] == '}' ? -1 : 0;
    if (depth == 0) break;
  }
  const std::string inside = text.substr(open + 1, close - open - 1);
  std::vector<std::string> choices = expand_range(inside, spec);
  if (choices.empty()) {
    for (const std::string& choice : split_at_commas(inside, spec)) {
      const auto expanded = expand_braces(choice, spec);
      choices.insert(choices.end(), expanded.begin(), expanded.end());
    }
  }
  const std::vector<std::string> tails = expand_braces(text.substr(close + 1), spec);
  if (choices.size() > kMaxExpansions / tails.size()) {
    throw InputError(fmt::format("'{}' means more than {} paths", printable_path(spec), kMaxExpansions));
  }
  std::vector<std::string> result;
  for (const std::string& choice : choices) {
    for (const std::string& tail : tails) result.push_back(text.substr(0, open) + choice + tail);
  }
  return result;
}

/// "; ..." with what the missing path may have meant.
std::string hint_for(const std::string& path) {
  const fs::path missing(path);
  fs::path folder = missing.parent_path();
  if (folder.empty()) folder = ".";
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    while (folder.has_relative_path() && !fs::is_directory(folder, error)) folder = folder.parent_path();
    return fmt::format("; of its path only '{}' exists",
                       printable_path(folder.empty() ? "." : folder.string()));
  }
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
    if (names.size() == 10'000) break;  // enough to guess from
  }
  std::ranges::sort(names);
  const std::string name = missing.filename().string();
  const auto nearest = nearest_names(std::move(names), name, 1);
  if (nearest.empty() || edit_distance(nearest[0], name) > 2 + static_cast<int64_t>(name.size()) / 4)
    return "";
  return fmt::format("; the nearest name there is '{}'", printable_path(nearest[0]));
}

bool looks_like_text(std::string_view head) {
  return std::ranges::none_of(head, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == 0 || byte == 0x7F || (byte < 0x20 && (byte < '\t' || byte > '\r'));
  });
}

}  // namespace

std::vector<std::string> expand_spec(const std::string& spec) {
  if (spec.empty()) throw InputError("no images are named: give a folder, image, list, tar or .npy");
  if (exists(spec)) return {spec};
  if (std::ranges::count(spec, '{') > kMaxBraces) {
    throw InputError(fmt::format("'{}' has more than {} braces", printable_path(spec), kMaxBraces));
  }
  std::vector<std::string> paths;
  for (const std::string& part : split_at_commas(spec, spec)) {
    if (part.empty())
      throw InputError(fmt::format("'{}' has an empty part between commas", printable_path(spec)));
    for (const std::string& path : exists(part) ? std::vector{part} : expand_braces(part, spec)) {
      if (!exists(path)) {
        throw InputError(fmt::format("'{}' does not exist{}", printable_path(path), hint_for(path)));
      }
      paths.push_back(path);
    }
  }
  return paths;
}

SpecKind kind_of(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return SpecKind::kFolder;
  std::string head;
  try {
    head = RegularFile(path).head(4096);
  } catch (const InputError& reason) {
    throw InputError(fmt::format("'{}' {}", printable_path(path), reason.what()));
  }
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(head.data()), head.size());
  if (has_image_signature(bytes)) return SpecKind::kImage;
  if (head.starts_with("\x93NUMPY") || path.ends_with(".npy")) return SpecKind::kArray;
  if (is_tar(path, head)) return SpecKind::kTar;
  if (has_image_extension(path)) return SpecKind::kImage;
  if (head.empty()) throw InputError(fmt::format("'{}' is empty", printable_path(path)));
  if (looks_like_text(head)) return SpecKind::kTextList;
  throw InputError(fmt::format(
      "'{}' holds no images: it is neither a folder, an image, a text list, a tar nor an .npy file",
      printable_path(path)));
}

}  // namespace branchsae::loader
