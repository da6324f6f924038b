#pragma once
/// Vector kernels of the pools, chosen for the processor at run time.
#include <cstdint>

namespace branchsae::cpu {

/// The input positions that one output position's window covers along one axis: begin, begin + step, ...
/// (count).
struct WindowSpan {
  int64_t begin, count;
};

/// What a row of the output is made from. All rows lie in one channel block.
struct PoolRow {
  const float* plane;         ///< [H][W][block]
  int64_t width, block;       ///< of src
  WindowSpan rows;            ///< which rows of src
  int64_t row_step;           ///< dilation
  const WindowSpan* columns;  ///< [out_width]
  int64_t column_step;
  int64_t out_width;
  const float* column_counts;  ///< [out_width]; an average divides by row_count * column_counts[x]
  float row_count;
  float* scratch;  ///< [W][block]
  float* dst;      ///< [out_width][block]
};

/// Rows first, then columns: kh + kw loads a position instead of kh * kw.
void max_pool_row(const PoolRow& row);
void average_pool_row(const PoolRow& row);

/// dst[lane] = mean over `pixels` of plane[pixel][lane]. Runs of 64 pixels are summed apart, so that rounding
/// errors do not grow with the whole length.
void mean_of_plane(const float* plane, int64_t pixels, int64_t block, float* dst);

}  // namespace branchsae::cpu
