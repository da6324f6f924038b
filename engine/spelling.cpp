#include "engine/spelling.h"

#include <algorithm>
#include <numeric>

namespace branchsae {

int64_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<int64_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), int64_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int64_t substitution = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitution});
    }
  }
  return row[b.size()];
}

std::vector<std::string> nearest_names(std::vector<std::string> names, std::string_view name, size_t count) {
  std::ranges::stable_sort(names, {}, [&](const std::string& known) { return edit_distance(known, name); });
  if (names.size() > count) names.resize(count);
  return names;
}

}  // namespace branchsae
