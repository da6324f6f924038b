#pragma once
/// Which images train and which are held out.
#include <cstdint>
#include <vector>

namespace branchsae {

struct ImageSplit {
  std::vector<int64_t> train, held_out;  ///< indices into the byte-sorted list, ascending
};

/// Image i is held out when i % m == m - 1, m = round(1 / holdout); holdout 0: none.
/// Throws InputError unless holdout is 0 or gives m >= 2.
ImageSplit split_images(int64_t count, double holdout);

}  // namespace branchsae
