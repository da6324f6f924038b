#include "engine/memory_advice.h"

#include <doctest/doctest.h>

using namespace branchsae;

TEST_CASE("advice is added once, to errors of memory only, and results pass through") {
  const auto fail = [](const char* message) {
    return [message]() -> int { throw MemoryError(message, "detail"); };
  };
  try {
    with_memory_advice("lower --batch", fail("4 MiB, 1 free"));
    FAIL("no error");
  } catch (const MemoryError& error) {
    CHECK(std::string(error.what()) == "4 MiB, 1 free; lower --batch");
    CHECK(error.detail() == "detail");
    CHECK(error.exit_code() == 1);
  }
  CHECK_THROWS_WITH_AS(with_memory_advice("lower --tap", fail("full; lower --batch")), "full; lower --batch",
                       MemoryError);
  CHECK_THROWS_WITH_AS(with_memory_advice("lower --batch", []() -> int { throw DeviceError("broken"); }),
                       "broken", DeviceError);
  CHECK(with_memory_advice("", [] { return 7; }) == 7);
}
