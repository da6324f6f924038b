#include "engine/pixel_table.h"

namespace branchsae {

PixelTable::PixelTable(const Preprocess& preprocess) : value{}, pixel_channel(preprocess.order) {
  for (size_t c = 0; c < 3; ++c) {
    for (size_t level = 0; level < 256; ++level) {
      const double scaled = static_cast<double>(level) * preprocess.range / 255.0;
      value[c][level] = static_cast<float>((scaled - preprocess.mean[c]) / preprocess.stddev[c]);
    }
  }
}

}  // namespace branchsae
