#pragma once
/// Many tests at once.
#include <span>
#include <vector>

namespace branchsae {

/// q values: the smallest false discovery rate at which each test is called. NaN (no test) stays NaN and does
/// not count. Source: Benjamini and Hochberg 1995. Throws InputError for p outside 0..1.
std::vector<double> benjamini_hochberg(std::span<const double> p);

}  // namespace branchsae
