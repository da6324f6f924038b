#include "engine/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <memory>

#include "engine/error.h"

namespace branchsae {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kTemporary = ".tmp";

std::string cause(int error) {
  return error == 0 ? "unknown cause" : std::strerror(error);
}

/// Flushes a file's, or a folder's, contents to the disk.
void sync_path(const fs::path& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC);
  if (file < 0) throw IoError(fmt::format("cannot sync '{}': {}", path.string(), cause(errno)));
  const bool ok = ::fsync(file) == 0;
  const int error = errno;
  ::close(file);
  if (!ok && error != EINVAL && error != EROFS) {  // some file systems cannot sync a folder
    throw IoError(fmt::format("cannot sync '{}': {}", path.string(), cause(error)));
  }
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
      throw Error("SHA-256 is not available");
  }
  void update(const char* data, size_t size) { EVP_DigestUpdate(context_.get(), data, size); }
  std::string finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::ifstream open_for_reading(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error))
    throw InputError(fmt::format("'{}' is a folder, not a file", path.string()));
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw InputError(fmt::format("cannot read '{}': {}", path.string(), cause(errno)));
  return stream;
}

}  // namespace

fs::path temporary_beside(const fs::path& path) {
  return fmt::format("{}{}{}", path.string(), kTemporary, ::getpid());
}

bool is_leftover(std::string_view name) {
  const size_t mark = name.rfind(kTemporary);
  if (mark == std::string_view::npos) return false;
  const std::string_view digits = name.substr(mark + kTemporary.size());
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) return false;
  pid_t process = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), process);
  if (parsed.ec != std::errc() || process < 1) return true;  // no process has such a number
  return process == ::getpid() || (::kill(process, 0) != 0 && errno == ESRCH);
}

void write_file_atomically(const fs::path& path, const std::function<void(std::ostream&)>& fill) {
  const fs::path temporary = temporary_beside(path);
  try {
    errno = 0;
    std::ofstream stream(temporary, std::ios::binary | std::ios::trunc);
    if (!stream) throw IoError(fmt::format("cannot write '{}': {}", path.string(), cause(errno)));
    fill(stream);
    errno = 0;
    stream.close();
    if (!stream) throw IoError(fmt::format("cannot write '{}': {}", path.string(), cause(errno)));
    sync_path(temporary, O_RDONLY);
    std::error_code error;
    fs::rename(temporary, path, error);
    if (error) throw IoError(fmt::format("cannot rename onto '{}': {}", path.string(), error.message()));
    sync_path(path.has_parent_path() ? path.parent_path() : fs::path("."), O_RDONLY | O_DIRECTORY);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

void write_file_atomically(const fs::path& path, std::span<const char> bytes) {
  write_file_atomically(path, [&](std::ostream& stream) {
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  });
}

std::string read_file(const fs::path& path, int64_t max_bytes) {
  std::ifstream stream = open_for_reading(path);
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(path, error));
  if (!error && size > max_bytes) {
    throw InputError(
        fmt::format("'{}' has {} bytes, more than the {} allowed", path.string(), size, max_bytes));
  }
  std::string contents;
  if (!error) contents.reserve(static_cast<size_t>(size));
  std::array<char, 1 << 16> chunk{};
  while (stream.read(chunk.data(), chunk.size()) || stream.gcount() > 0) {
    contents.append(chunk.data(), static_cast<size_t>(stream.gcount()));
    if (static_cast<int64_t>(contents.size()) > max_bytes) {
      throw InputError(fmt::format("'{}' has more than the {} bytes allowed", path.string(), max_bytes));
    }
  }
  if (stream.bad()) throw InputError(fmt::format("reading '{}' failed: {}", path.string(), cause(errno)));
  return contents;
}

std::string sha256_of_file(const fs::path& path) {
  std::ifstream stream = open_for_reading(path);
  Sha256 hash;
  std::array<char, 1 << 16> chunk{};
  while (stream.read(chunk.data(), chunk.size()) || stream.gcount() > 0) {
    hash.update(chunk.data(), static_cast<size_t>(stream.gcount()));
  }
  if (stream.bad()) throw InputError(fmt::format("reading '{}' failed: {}", path.string(), cause(errno)));
  return hash.finish();
}

std::string sha256_of(std::span<const char> bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.finish();
}

void make_writable_folder(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error)) {
    throw InputError(
        fmt::format("'{}' is a file where a folder is expected; give another name", path.string()));
  }
  fs::create_directories(path, error);
  if (error)
    throw InputError(fmt::format("cannot create the folder '{}': {}", path.string(), error.message()));
  if (::access(path.c_str(), W_OK | X_OK) != 0) {
    throw InputError(fmt::format("the folder '{}' is not writable: {}", path.string(), cause(errno)));
  }
}

}  // namespace branchsae
