#pragma once
/// Taps, and outputs beside the double-precision reference, for the tests of every backend.
#include <functional>
#include <vector>

#include "engine/network.h"
#include "tests/reference/network.h"

namespace branchsae::test {

/// A tap on all channels of one value.
Tap whole_tap(const Graph& graph, ValueId value);

/// One for each of these values.
std::vector<Tap> whole_taps(const Graph& graph, const std::vector<ValueId>& values);

/// Largest relative error (norm of difference over norm) of any of these values, the i-th of which has the
/// rows tap_rows(i); +Inf when shapes differ.
double worst_error(const Graph& graph, const std::vector<ValueId>& values, const reference::Array& images,
                   const std::function<reference::Array(size_t)>& tap_rows);

}  // namespace branchsae::test
