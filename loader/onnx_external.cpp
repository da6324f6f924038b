#include "loader/onnx_external.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>

#include "engine/error.h"
#include "loader/onnx_node.h"

namespace branchsae::loader {
namespace fs = std::filesystem;

namespace {

int64_t parse_count(std::string_view text, const char* key, const std::string& where) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0) return value;
  throw InputError(fmt::format("{}: external data {} '{}' is not a byte count", where, key, printable(text)));
}

/// True when `path` is `folder` or below it; both canonical.
bool is_inside(const fs::path& path, const fs::path& folder) {
  const auto [end, ignored] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end();
}

fs::path resolve(const std::string& location, const fs::path& folder, const std::string& where) {
  const fs::path relative(location);
  const bool climbs = std::ranges::find(relative, fs::path("..")) != relative.end();
  if (location.empty() || location.find('\0') != std::string::npos) {
    throw InputError(fmt::format("{}: external data names no file", where));
  }
  if (relative.is_absolute() || climbs) {
    throw InputError(
        fmt::format("{}: external data '{}' lies outside the model's folder, which is not allowed; "
                    "move it beside the model",
                    where, printable(location)));
  }
  std::error_code error;
  const fs::path root = fs::canonical(folder.empty() ? fs::path(".") : folder, error);
  if (error) throw InputError(fmt::format("{}: folder '{}': {}", where, folder.string(), error.message()));
  const fs::path path = fs::canonical(root / relative, error);
  if (error) {
    throw InputError(fmt::format("{}: external data file '{}' cannot be found beside the model ({})", where,
                                 printable(location), error.message()));
  }
  if (!is_inside(path, root)) {
    throw InputError(
        fmt::format("{}: external data '{}' is a link that leaves the model's folder, which is not "
                    "allowed; copy the file beside the model",
                    where, printable(location)));
  }
  if (!fs::is_regular_file(path, error)) {
    throw InputError(fmt::format("{}: external data '{}' is not a regular file", where, printable(location)));
  }
  return path;
}

}  // namespace

ExternalRange external_range(const ::onnx::TensorProto& proto, const fs::path& folder, int64_t needed,
                             const std::string& where) {
  std::string location;
  ExternalRange range;
  int64_t stated = -1;
  for (const ::onnx::StringStringEntryProto& entry : proto.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") range.offset = parse_count(entry.value(), "offset", where);
    if (entry.key() == "length") stated = parse_count(entry.value(), "length", where);
  }
  range.path = resolve(location, folder, where);
  range.length = needed;
  if (stated >= 0 && stated != needed) {
    throw InputError(
        fmt::format("{}: external data has length {}, its shape needs {} bytes", where, stated, needed));
  }
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(range.path, error));
  if (error || range.offset > size || needed > size - range.offset) {
    throw InputError(fmt::format("{}: external data needs {} bytes from byte {} on, '{}' has {}", where,
                                 needed, range.offset, printable(location), error ? 0 : size));
  }
  return range;
}

std::string read_range(const ExternalRange& range, const std::string& where) {
  std::string bytes(static_cast<size_t>(range.length), '\0');
  std::ifstream stream(range.path, std::ios::binary);
  stream.seekg(range.offset);
  stream.read(bytes.data(), range.length);
  if (!stream || stream.gcount() != range.length) {
    throw InputError(
        fmt::format("{}: external data file '{}' cannot be read or ends early", where, range.path.string()));
  }
  return bytes;
}

}  // namespace branchsae::loader
