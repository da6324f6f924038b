#include "loader/image_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "engine/error.h"

namespace branchsae::loader {
namespace {

/// Kept for photos, not read here: worth a warning rather than silence.
constexpr std::string_view kUnsupportedExtensions = ".webp .tif .tiff .heic .heif .avif .jp2 .jxl";

bool listed(std::string_view extensions, std::string_view extension) {
  for (size_t at = 0; at < extensions.size();) {
    const size_t end = std::min(extensions.find(' ', at), extensions.size());
    if (extensions.substr(at, end - at) == extension) return true;
    at = end + 1;
  }
  return false;
}

std::string cause_of(int error) {
  switch (error) {
    case ENOENT:
      return "does not exist";
    case EACCES:
    case EPERM:
      return "may not be read (permission denied)";
    case ELOOP:
      return "is a symbolic link that leads in a circle";
    default:
      return fmt::format("cannot be read ({})", std::strerror(error));
  }
}

/// Length of the UTF-8 sequence that begins `text`, 0 when it is none. Overlong forms and surrogates are
/// none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF && continues(1)) return 2;
  if (first >= 0xE0 && first <= 0xEF && continues(1) && continues(2)) {
    const bool overlong = first == 0xE0 && second < 0xA0;
    const bool surrogate = first == 0xED && second >= 0xA0;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xF0 && first <= 0xF4 && continues(1) && continues(2) && continues(3)) {
    const bool overlong = first == 0xF0 && second < 0x90;
    const bool too_large = first == 0xF4 && second >= 0x90;
    return overlong || too_large ? 0 : 4;
  }
  return 0;
}

/// C0 controls, DEL, and the C1 controls, which some terminals obey.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7F;
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

}  // namespace

RegularFile::RegularFile(const std::string& path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor_ < 0) throw InputError(cause_of(errno));
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw InputError(known && S_ISDIR(status.st_mode) ? "is a folder" : "is not a regular file");
  }
  size_ = status.st_size;
}

RegularFile::~RegularFile() {
  ::close(descriptor_);
}

void RegularFile::read(int64_t offset, int64_t count, void* to) const {
  auto* next = static_cast<char*>(to);
  while (count > 0) {
    const ssize_t got = ::pread(descriptor_, next, static_cast<size_t>(count), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw InputError(cause_of(errno));
    if (got == 0) throw InputError(fmt::format("ends at byte {}, {} too early", offset, count));
    next += got;
    offset += got;
    count -= got;
  }
}

std::string RegularFile::head(int64_t count) const {
  std::string bytes(static_cast<size_t>(std::min(count, size_)), '\0');
  read(0, static_cast<int64_t>(bytes.size()), bytes.data());
  return bytes;
}

std::string read_range(const RegularFile& file, int64_t offset, int64_t count, int64_t max_bytes) {
  if (count == 0) throw InputError("is empty");
  if (count > max_bytes) {
    throw InputError(fmt::format("has {} bytes, more than the cap of {} for one image", count, max_bytes));
  }
  std::string bytes(static_cast<size_t>(count), '\0');
  file.read(offset, count, bytes.data());
  return bytes;
}

bool has_image_extension(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || name.find('/', dot) != std::string_view::npos) return false;
  std::string extension(name.substr(dot));
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return listed(kImageExtensions, extension) || listed(kUnsupportedExtensions, extension);
}

std::string printable_path(std::string_view raw) {
  std::string text;
  text.reserve(raw.size());
  while (!raw.empty()) {
    const size_t length = utf8_length(raw);
    const std::string_view character = raw.substr(0, std::max<size_t>(length, 1));
    if (length == 0 || is_control(character)) {
      for (const char byte : character) {
        text += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(byte)));
      }
    } else if (character == "\\") {
      text += "\\\\";
    } else {
      text += character;
    }
    raw.remove_prefix(character.size());
  }
  return text;
}

}  // namespace branchsae::loader
