#pragma once
/// Tokens from a file, so that a benchmark runs on the very numbers that another program was given.
#include <filesystem>

#include "engine/host_tensor.h"

namespace branchsae::bench {

/// A float32 .npy of shape [N, d], as `branchsae capture --tokens` writes it.
class TokenFile {
 public:
  /// Throws InputError naming the file: no such array, another type or width, fewer than `least` rows.
  TokenFile(std::filesystem::path path, int64_t d, int64_t least);
  int64_t rows() const { return rows_; }
  /// Rows first .. first + count - 1 as [count, d]. Throws IoError when the file has become shorter.
  HostTensor read(int64_t first, int64_t count) const;

 private:
  std::filesystem::path path_;
  int64_t d_, rows_ = 0, offset_ = 0;
};

}  // namespace branchsae::bench
