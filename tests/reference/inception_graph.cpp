#include "tests/reference/inception_graph.h"

#include <algorithm>

#include "tests/reference/graph_builder.h"

namespace branchsae::test {
namespace {

using reference::window;

/// Channels of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
struct BlockWidths {
  int64_t one, three_reduce, three, five_reduce, five, pool;
};

constexpr BlockWidths kBlocks[] = {
    {64, 96, 128, 16, 32, 32},     {128, 128, 192, 32, 96, 64},   {192, 96, 208, 16, 48, 64},
    {160, 112, 224, 24, 64, 64},   {128, 128, 256, 24, 64, 64},   {112, 144, 288, 32, 64, 64},
    {256, 160, 320, 32, 128, 128}, {256, 160, 320, 32, 128, 128}, {384, 192, 384, 48, 128, 128}};

class Inception {
 public:
  Inception(int64_t divisor, uint64_t seed) : build_(3, seed), divisor_(divisor) {}

  InceptionGraph make(int64_t classes) {
    ValueId at = stem();
    for (size_t i = 0; i < std::size(kBlocks); ++i) {
      if (i == 2 || i == 7) at = pool(at, 2);  // before mixed4a and mixed5a
      at = block(at, kBlocks[i]);
    }
    const ValueId mean = build_.add(GlobalAveragePoolOp{}, at);
    result_.logits =
        build_.linear(build_.flatten(mean, build_.channels(mean)), build_.channels(mean), classes);
    result_.prob = build_.add(SoftmaxOp{}, result_.logits);
    result_.graph = build_.graph({result_.prob});
    return std::move(result_);
  }

 private:
  ValueId conv(ValueId src, int64_t outputs, int64_t kernel, int64_t stride = 1) {
    const int64_t channels = std::max<int64_t>(1, outputs / divisor_);
    return build_.add(ReluOp{}, build_.conv(src, channels, window(kernel, stride, kernel / 2)));
  }
  ValueId pool(ValueId src, int64_t stride) {
    return build_.add(MaxPoolOp{window(3, stride, stride == 1 ? 1 : 0), /*ceil_mode=*/true}, src);
  }
  ValueId lrn(ValueId src) { return build_.add(LrnOp{}, src); }

  ValueId stem() {
    const ValueId first = lrn(pool(conv(build_.input(), 64, 7, 2), 2));
    return pool(lrn(conv(conv(first, 64, 1), 192, 3)), 2);
  }

  ValueId block(ValueId src, const BlockWidths& widths) {
    const std::vector<ValueId> branches{
        conv(src, widths.one, 1), conv(conv(src, widths.three_reduce, 1), widths.three, 3),
        conv(conv(src, widths.five_reduce, 1), widths.five, 5), conv(pool(src, 1), widths.pool, 1)};
    result_.branches.push_back(branches);
    result_.blocks.push_back(build_.concat(branches));
    return result_.blocks.back();
  }

  reference::GraphBuilder build_;
  int64_t divisor_;
  InceptionGraph result_;
};

}  // namespace

InceptionGraph inception_graph(int64_t divisor, int64_t classes, uint64_t seed) {
  return Inception(divisor, seed).make(classes);
}

}  // namespace branchsae::test
