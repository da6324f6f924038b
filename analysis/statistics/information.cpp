#include "analysis/statistics/information.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

#include "engine/error.h"

namespace branchsae {
namespace {

/// Miller's estimate from counts.
double corrected_entropy(const std::vector<double>& counts) {
  double total = 0, filled = 0;
  for (double count : counts) {
    total += count;
    filled += count > 0 ? 1 : 0;
  }
  return total > 0 ? entropy_bits(counts) + (filled - 1) / (2 * total * std::numbers::ln2) : 0;
}

}  // namespace

double entropy_bits(std::span<const double> weights) {
  double total = 0;
  for (double weight : weights) {
    if (weight < 0) throw InputError("an entropy of negative weights");
    total += weight;
  }
  double bits = 0;
  for (double weight : weights) {
    if (weight > 0) bits -= weight / total * std::log2(weight / total);
  }
  return bits;
}

double mutual_information_bits(const CountTable& table) {
  std::vector<double> rows(table.size()), columns(table.empty() ? 0 : table.front().size()), cells;
  for (size_t i = 0; i < table.size(); ++i) {
    if (table[i].size() != columns.size()) throw InputError("the rows of a table of counts differ in length");
    for (size_t j = 0; j < columns.size(); ++j) {
      const auto count = static_cast<double>(table[i][j]);
      rows[i] += count;
      columns[j] += count;
      cells.push_back(count);
    }
  }
  return corrected_entropy(rows) + corrected_entropy(columns) - corrected_entropy(cells);
}

}  // namespace branchsae
