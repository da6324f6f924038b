#include "engine/npy.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "engine/error.h"
#include "engine/files.h"

namespace branchsae {
namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, ".npy files are read and written little-endian");

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr int64_t kHeaderBytes = 128;  // fixed, so that the row count can be patched in place

[[noreturn]] void fail(const fs::path& path, const std::string& why) {
  throw InputError(fmt::format("'{}' is not a usable .npy file: {}", path.string(), why));
}

/// The text between `open` and `close` after `key` in the header's dictionary.
std::string field(const std::string& header, std::string_view key, char open, char close,
                  const fs::path& path) {
  const size_t at = header.find(key);
  const size_t begin = at == std::string::npos ? at : header.find(open, at + key.size());
  const size_t end = begin == std::string::npos ? begin : header.find(close, begin + 1);
  if (end == std::string::npos) fail(path, fmt::format("its header has no {}", key));
  return header.substr(begin + 1, end - begin - 1);
}

Shape parse_shape(const std::string& text, const fs::path& path) {
  Shape shape;
  const char* cursor = text.data();
  const char* end = text.data() + text.size();
  while (cursor < end) {
    if (*cursor == ' ' || *cursor == ',') {
      ++cursor;
      continue;
    }
    int64_t extent = 0;
    const auto [next, error] = std::from_chars(cursor, end, extent);
    if (error != std::errc() || extent < 0) fail(path, fmt::format("its shape ({}) cannot be read", text));
    shape.push_back(extent);
    cursor = next;
  }
  return shape;
}

int64_t bytes_of(const std::string& dtype, const fs::path& path) {
  const bool known = dtype.size() == 3 && (dtype[0] == '<' || dtype[0] == '|') &&
                     std::string_view("fiub").find(dtype[1]) != std::string_view::npos;
  if (!known || std::string_view("1248").find(dtype[2]) == std::string_view::npos) {
    fail(path, fmt::format("element type '{}' is not supported", dtype));
  }
  return dtype[2] - '0';
}

std::string make_header(const std::string& dtype, const Shape& shape) {
  std::string dims;
  for (int64_t extent : shape) dims += fmt::format("{}, ", extent);
  if (shape.size() > 1) dims.resize(dims.size() - 2);
  if (shape.size() == 1) dims.resize(dims.size() - 1);
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", dtype, dims);
  constexpr int64_t kPrefix = 10;
  text.resize(static_cast<size_t>(kHeaderBytes - kPrefix - 1), ' ');
  text += '\n';
  const auto length = static_cast<uint16_t>(text.size());
  std::string header(kMagic);
  header += {'\x01', '\x00', static_cast<char>(length & 0xFF), static_cast<char>(length >> 8)};
  return header + text;
}

}  // namespace

NpyHeader read_npy_header(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) fail(path, "it is a folder");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw InputError(fmt::format("cannot read '{}': {}", path.string(), std::strerror(errno)));
  std::array<char, 12> prefix{};
  stream.read(prefix.data(), 10);
  if (stream.gcount() != 10 || std::memcmp(prefix.data(), kMagic.data(), kMagic.size()) != 0) {
    fail(path, "it does not begin with the .npy magic");
  }
  const int version = prefix[6];
  if (version < 1 || version > 3) fail(path, fmt::format("format version {} is not known", version));
  const auto byte = [&](int i) {
    return static_cast<int64_t>(static_cast<unsigned char>(prefix[static_cast<size_t>(i)]));
  };
  int64_t length = byte(8) | byte(9) << 8;
  int64_t offset = 10;
  if (version > 1) {
    stream.read(prefix.data() + 10, 2);
    length |= byte(10) << 16 | byte(11) << 24;
    offset = 12;
  }
  constexpr int64_t kLongestHeader = 1 << 20;
  if (!stream || length > kLongestHeader) fail(path, "its header is cut off or too long");
  std::string header(static_cast<size_t>(length), '\0');
  stream.read(header.data(), length);
  if (stream.gcount() != length) fail(path, "its header is cut off");

  NpyHeader result;
  result.dtype = field(header, "'descr'", '\'', '\'', path);
  if (header.find("'fortran_order': True") != std::string::npos)
    fail(path, "it is in Fortran order; save it in C order");
  result.element_bytes = bytes_of(result.dtype, path);
  result.shape = parse_shape(field(header, "'shape'", '(', ')', path), path);
  result.data_offset = offset + length;
  const auto available = static_cast<int64_t>(fs::file_size(path)) - result.data_offset;
  if (element_count(result.shape) > available / result.element_bytes) {
    fail(path, fmt::format("shape {} needs more than the {} bytes of data there are", to_string(result.shape),
                           available));
  }
  return result;
}

NpyWriter::NpyWriter(const fs::path& path, std::string dtype, Shape row_shape)
    : path_(path),
      temporary_(path.string() + ".tmp"),
      dtype_(std::move(dtype)),
      row_shape_(std::move(row_shape)) {
  row_bytes_ = element_count(row_shape_) * bytes_of(dtype_, path_);
  stream_.open(temporary_, std::ios::binary | std::ios::trunc);
  if (!stream_) throw IoError(fmt::format("cannot write '{}': {}", path_.string(), std::strerror(errno)));
  open_ = true;
  Shape shape = row_shape_;
  shape.insert(shape.begin(), 0);
  stream_ << make_header(dtype_, shape);
}

NpyWriter::NpyWriter(NpyWriter&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      stream_(std::move(other.stream_)),
      dtype_(std::move(other.dtype_)),
      row_shape_(std::move(other.row_shape_)),
      bytes_(other.bytes_),
      row_bytes_(other.row_bytes_),
      open_(std::exchange(other.open_, false)) {}

NpyWriter::~NpyWriter() {
  if (!open_) return;
  stream_.close();
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void NpyWriter::append(std::span<const char> bytes) {
  errno = 0;
  stream_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!stream_) throw IoError(fmt::format("cannot write '{}': {}", path_.string(), std::strerror(errno)));
  bytes_ += static_cast<int64_t>(bytes.size());
}

void NpyWriter::finish() {
  if (row_bytes_ == 0 || bytes_ % row_bytes_ != 0) {
    throw ShapeError(
        fmt::format("'{}': {} bytes are not whole rows of {}", path_.string(), bytes_, row_bytes_));
  }
  Shape shape = row_shape_;
  shape.insert(shape.begin(), bytes_ / row_bytes_);
  errno = 0;
  stream_.seekp(0);
  stream_ << make_header(dtype_, shape);
  stream_.close();
  std::error_code error;
  if (stream_) fs::rename(temporary_, path_, error);
  if (!stream_ || error) {
    throw IoError(
        fmt::format("cannot write '{}': {}", path_.string(), error ? error.message() : std::strerror(errno)));
  }
  open_ = false;
}

void write_npy(const fs::path& path, const std::string& dtype, const Shape& shape,
               std::span<const char> bytes) {
  const int64_t expected = element_count(shape) * bytes_of(dtype, path);
  if (static_cast<int64_t>(bytes.size()) != expected) {
    throw ShapeError(fmt::format("'{}': {} bytes given for shape {} of {}", path.string(), bytes.size(),
                                 to_string(shape), dtype));
  }
  write_file_atomically(path, [&](std::ostream& stream) {
    stream << make_header(dtype, shape);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  });
}

}  // namespace branchsae
