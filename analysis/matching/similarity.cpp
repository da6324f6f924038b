#include "analysis/matching/similarity.h"

#include <algorithm>
#include <limits>
#include <mutex>

namespace branchsae {
namespace {

constexpr int kBins = 1 << 18;  // over -1 .. 1

}  // namespace

double similarity_quantile(const LatentSimilarity& similarity, int threads, double q) {
  const std::vector<uint8_t> rows = similarity.live_a(), columns = similarity.live_b();
  std::vector<int64_t> counts(kBins);
  std::mutex mutex;
  similarity.for_rows(threads, [&](int64_t first, View<const float, 2> r) {
    std::vector<int32_t> bins;
    for (int64_t i = 0; i < r.shape[0]; ++i) {
      if (rows[static_cast<size_t>(first + i)] == 0) continue;
      const float* row = r.row(i);
      for (size_t j = 0; j < columns.size(); ++j) {
        if (columns[j] == 0) continue;
        const auto bin = static_cast<int32_t>((row[j] + 1) * (kBins / 2));
        bins.push_back(std::clamp(bin, 0, kBins - 1));
      }
    }
    const std::lock_guard lock(mutex);
    for (int32_t bin : bins) ++counts[static_cast<size_t>(bin)];
  });
  int64_t total = 0, below = 0;
  for (int64_t count : counts) total += count;
  if (total == 0) return std::numeric_limits<double>::quiet_NaN();
  for (size_t bin = 0; bin < counts.size(); ++bin) {
    below += counts[bin];
    if (static_cast<double>(below) >= q * static_cast<double>(total))
      return std::min(1.0, 2.0 * static_cast<double>(bin + 1) / kBins - 1);
  }
  return 1;
}

}  // namespace branchsae
