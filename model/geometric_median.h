#pragma once
/// The point with the least sum of distances to some tokens: a centre that outliers hardly move.
#include <vector>

#include "engine/view.h"

namespace branchsae {

/// tokens [rows, d], host, rows >= 1. Weiszfeld's iteration with Vardi and Zhang's correction where an
/// iterate meets a token, from the mean until it moves by less than 1e-7 of the mean distance, or 200 times.
/// Source: Vardi and Zhang 2000, "The multivariate L1-median and associated data depth", PNAS 97(4).
std::vector<double> geometric_median(View<const float, 2> tokens);

}  // namespace branchsae
