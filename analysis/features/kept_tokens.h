#pragma once
/// Tokens and their codes in memory, for another look at them without another forward pass.
#include <array>
#include <cstdint>
#include <vector>

#include "engine/view.h"

namespace branchsae {

/// One tap's tokens, bit for bit. After a ReLU most channels are 0, and only what is not takes memory.
class KeptTokens {
 public:
  explicit KeptTokens(int64_t width);
  /// rows [tokens, width], host; the next batch. Throws ShapeError.
  void add(View<const float, 2> rows);

  int64_t width() const { return width_; }
  int64_t batches() const { return static_cast<int64_t>(batches_.size()); }
  /// Rows of a batch as they were added, contiguous; `memory` holds them.
  View<const float, 2> read(int64_t batch, std::vector<float>& memory) const;
  int64_t memory_bytes() const { return bytes_; }

 private:
  struct Batch {
    int64_t tokens = 0;
    std::vector<uint64_t> present;  ///< [tokens, words]: a bit for each channel that is kept
    std::vector<float> values;
  };
  int64_t width_, words_, bytes_ = 0;
  std::vector<Batch> batches_;
};

/// One autoencoder's codes, batch by batch.
class KeptCodes {
 public:
  /// values and indices [tokens, k], host.
  void add(View<const float, 2> values, View<const int32_t, 2> indices);
  View<const float, 2> values(int64_t batch) const;
  View<const int32_t, 2> indices(int64_t batch) const;
  int64_t memory_bytes() const { return bytes_; }

 private:
  struct Batch {
    std::array<int64_t, 2> shape{};
    std::vector<float> values;
    std::vector<int32_t> indices;
  };
  int64_t bytes_ = 0;
  std::vector<Batch> batches_;
};

}  // namespace branchsae
