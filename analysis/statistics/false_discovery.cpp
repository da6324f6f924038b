#include "analysis/statistics/false_discovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace branchsae {

std::vector<double> benjamini_hochberg(std::span<const double> p) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p.size(); ++i) {
    if (std::isnan(p[i])) continue;
    if (p[i] < 0 || p[i] > 1) throw InputError(fmt::format("test {} has p = {}: it must be 0..1", i, p[i]));
    order.push_back(i);
  }
  std::ranges::sort(order, {}, [p](size_t i) { return p[i]; });
  std::vector<double> q(p.begin(), p.end());
  const auto tests = static_cast<double>(order.size());
  double least = 1;
  for (size_t rank = order.size(); rank-- > 0;) {
    least = std::min(least, p[order[rank]] * (tests / static_cast<double>(rank + 1)));
    q[order[rank]] = least;
  }
  return q;
}

}  // namespace branchsae
