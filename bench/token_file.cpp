#include "bench/token_file.h"

#include <fmt/format.h>

#include <fstream>

#include "engine/error.h"
#include "engine/npy.h"

namespace branchsae::bench {

TokenFile::TokenFile(std::filesystem::path path, int64_t d, int64_t least) : path_(std::move(path)), d_(d) {
  const NpyHeader header = read_npy_header(path_);
  if (header.dtype != "<f4" || header.shape.size() != 2 || header.shape[1] != d) {
    throw InputError(fmt::format("'{}' holds {} of shape {}; the shape asked for needs <f4 of [N, {}]",
                                 path_.string(), header.dtype, to_string(header.shape), d));
  }
  if (header.shape[0] < least) {
    throw InputError(
        fmt::format("'{}' has {} tokens, fewer than a batch of {}", path_.string(), header.shape[0], least));
  }
  rows_ = header.shape[0];
  offset_ = header.data_offset;
}

HostTensor TokenFile::read(int64_t first, int64_t count) const {
  HostTensor rows({count, d_});
  const int64_t row_bytes = d_ * static_cast<int64_t>(sizeof(float));
  std::ifstream file(path_, std::ios::binary);
  file.seekg(offset_ + first * row_bytes);
  file.read(reinterpret_cast<char*>(rows.data()), count * row_bytes);
  if (!file) throw IoError(fmt::format("cannot read tokens {} on of '{}'", first, path_.string()));
  return rows;
}

}  // namespace branchsae::bench
