#pragma once
/// Runs kernels with a planted mistake and asks what the emulator says of them.
#include <doctest/doctest.h>

#include <string>

#include "cuda/launch.h"
#include "tests/cuda/kernel_test.h"
#include "tests/emulator/failure.h"

namespace branchsae::emulator {

/// What is said of a kernel; "" when nothing is found. Whether something is found must not depend on the
/// order of threads.
template <class... Parameters, class... Arguments>
std::string verdict(void (*kernel)(Parameters...), cuda::LaunchShape shape, const Arguments&... arguments) {
  std::string said;
  int failures = 0, runs = 0;
  cuda::test::for_each_order([&](std::string_view) {
    ++runs;
    try {
      cuda::launch(kernel, "planted", shape, cuda::test::stream(), arguments...);
      cuda::test::synchronize();
    } catch (const Failure& failure) {
      ++failures;
      said = failure.what();
    }
  });
  CHECK((failures == 0 || failures == runs));
  return said;
}

inline bool contains(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE("\"" << text << "\" does not say \"" << part << "\"");
  return found;
}

}  // namespace branchsae::emulator
