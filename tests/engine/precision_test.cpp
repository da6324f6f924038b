#include <doctest/doctest.h>

#include "engine/error.h"
#include "engine/sae.h"

using namespace branchsae;

TEST_CASE("names of precisions are read back, others are refused with the names there are") {
  for (const SaePrecision precision : {SaePrecision::kF32, SaePrecision::kTf32, SaePrecision::kBf16}) {
    CHECK(parse_sae_precision(to_string(precision)) == precision);
  }
  CHECK(to_string(SaePrecision::kF32) == "fp32");
  for (const char* wrong : {"", "f32", "BF16", "fp16"}) {
    CHECK_THROWS_WITH_AS(parse_sae_precision(wrong), doctest::Contains("fp32, tf32 or bf16"), InputError);
  }
}
