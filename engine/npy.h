#pragma once
/// NumPy .npy files, format versions 1-3, little-endian, C order. Source: numpy.lib.format documentation.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>

#include "engine/shape.h"

namespace branchsae {

struct NpyHeader {
  std::string dtype;  ///< "<f4", "|u1", "<i4", ...
  Shape shape;
  int64_t data_offset = 0;  ///< bytes
  int64_t element_bytes = 0;
};

/// Throws InputError: not .npy, Fortran order, object dtype, shape that does not fit the file's size.
NpyHeader read_npy_header(const std::filesystem::path& path);

/// Streams rows into DIR/x.npy under a temporary name; the outermost dimension is patched at the end and the
/// file renamed.
class NpyWriter {
 public:
  NpyWriter(const std::filesystem::path& path, std::string dtype, Shape row_shape);
  ~NpyWriter();  ///< removes the temporary file unless finish() was called
  NpyWriter(NpyWriter&&) noexcept;
  /// bytes: whole rows.
  void append(std::span<const char> bytes);
  /// Throws IoError.
  void finish();

 private:
  std::filesystem::path path_, temporary_;
  std::ofstream stream_;
  std::string dtype_;
  Shape row_shape_;
  int64_t bytes_ = 0, row_bytes_ = 0;
  bool open_ = false;
};

/// Whole array at once.
void write_npy(const std::filesystem::path& path, const std::string& dtype, const Shape& shape,
               std::span<const char> bytes);

}  // namespace branchsae
