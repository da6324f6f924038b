#include "engine/sync_debug.h"

#include <doctest/doctest.h>

#include <cstdlib>

using namespace branchsae;

TEST_CASE("the environment decides until the switch is set") {
  ::setenv("BRANCHSAE_SYNC_DEBUG", "1", 1);
  CHECK(sync_debug());
  set_sync_debug(false);
  CHECK_FALSE(sync_debug());
  set_sync_debug(true);
  CHECK(sync_debug());
}
