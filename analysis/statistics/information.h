#pragma once
/// Entropies in bits.
#include <span>

#include "analysis/statistics/counts.h"

namespace branchsae {

/// -sum p log2 p with p = weight / sum of weights; 0 for no weight at all. Throws InputError for a negative
/// one.
double entropy_bits(std::span<const double> weights);

/// Mutual information of rows and columns, each entropy corrected by (filled cells - 1) / (2 N) nats.
/// May be slightly negative. Source: Miller 1955. 0 for an empty table.
double mutual_information_bits(const CountTable& table);

}  // namespace branchsae
