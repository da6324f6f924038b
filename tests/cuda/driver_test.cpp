/// Runs with a fake driver library; see CMakeLists.txt. By hand, without one, everything is skipped.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "engine/backend.h"
#include "tests/test_data.h"

using namespace branchsae;

TEST_CASE("a driver that cannot be used is named, in one line") {
  const char* fault = std::getenv("FAKE_DRIVER");
  if (fault == nullptr) {
    test::skip("needs a fake driver, which ctest gives");
    return;
  }
  const std::string reason = find_backend("cuda")->unavailable();
  CHECK(reason.find('\n') == std::string::npos);
  if (std::string(fault) == "too_old") {
    CHECK(reason.find("the CUDA driver is too old: it supports CUDA 11.4, this build needs") == 0);
  } else {
    CHECK(reason == "a CUDA driver is installed but no device answers");
  }
}
