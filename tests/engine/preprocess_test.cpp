#include "engine/preprocess.h"

#include <doctest/doctest.h>

#include "engine/error.h"

using namespace branchsae;

TEST_CASE("known names and their text form agree") {
  for (const char* name : {"caffe", "lucid", "torchvision"}) CHECK(to_string(parse_preprocess(name)) == name);
  CHECK(parse_preprocess("caffe") == caffe_preprocess());
}

TEST_CASE("custom preprocessing survives a round trip") {
  const Preprocess custom = parse_preprocess("104/117.5/123,1,BGR,255");
  CHECK(custom.mean == std::array<float, 3>{104, 117.5F, 123});
  CHECK(custom.stddev == std::array<float, 3>{1, 1, 1});
  CHECK(custom.order == std::array<int, 3>{2, 1, 0});
  CHECK(custom.range == 255.0F);
  CHECK(parse_preprocess(to_string(custom)) == custom);
}

TEST_CASE("bad text is refused") {
  for (const char* text : {"", "coffee", "1,2,RGB", "1,0,RGB,255", "1,1,GRB,255", "1,1,RGB,0", "a,1,RGB,1",
                           "1/2,1,RGB,1", "nan,1,RGB,1", "1,1,RGB,255,9"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_preprocess(text), InputError);
  }
}
