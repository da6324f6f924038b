#include "engine/spelling.h"

#include <doctest/doctest.h>

using namespace branchsae;

TEST_CASE("edit distance counts insertions, deletions and substitutions") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("mixed4c", "mixed4d") == 1);
  CHECK(edit_distance("flaw", "lawn") == 2);
}

TEST_CASE("the nearest names come first, ties in their order") {
  const std::vector<std::string> names = {"train", "eval", "encode", "trail"};
  CHECK(nearest_names(names, "trait", 2) == std::vector<std::string>{"train", "trail"});
  CHECK(nearest_names(names, "encod", 1) == std::vector<std::string>{"encode"});
  CHECK(nearest_names(names, "x", 9).size() == 4);
}
