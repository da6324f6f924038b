// The ops that the CPU has kernels of its own for, in every instruction set; tests/network_cases has each
// op's cases.
#include <doctest/doctest.h>
#include <hwy/targets.h>

#include "tests/cpu/network_check.h"
#include "tests/reference/graph_builder.h"

using namespace branchsae;
using reference::GraphBuilder;
using reference::random_images;
using reference::window;

TEST_CASE("our own kernels at every vector width that this processor and build have") {
  int widths = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (const int64_t channels : {5, 32}) {
      CAPTURE(channels);
      GraphBuilder build(3, 11);
      const ValueId src = build.conv(build.input(), channels, window(1));
      const ValueId pooled = build.add(MaxPoolOp{window(3, 2, 1), true}, build.add(ReluOp{}, src));
      const ValueId means = build.add(AveragePoolOp{window(2), false, false}, pooled);
      const ValueId normalised = build.add(LrnOp{5, 1.0F, 0.75F, 1.0F}, means);
      const ValueId other = build.add(LrnOp{3, 1.0F, 0.6F, 1.0F}, means);
      const ValueId sum = build.add(BinaryOp{BinaryOp::Kind::kAdd}, std::vector<ValueId>{normalised, other});
      const ValueId clipped = build.add(ClipOp{-1.0F, 1.0F}, build.affine(sum));
      const ValueId dst = build.linear(clipped, build.channels(clipped) * 4 * 4, 21);
      // Rounding in sums of up to some 300 products, with a few roundings before and after.
      CHECK(test::worst_error(build.graph({dst}), {dst}, random_images({3, 3, 9, 8}, 12)) < 1e-6);
    }
    ++widths;
  }
  hwy::SetSupportedTargetsForTest(0);
  CHECK(widths >= 1);
}
