// Constant folding, against numpy's rules worked out by hand.
#include <doctest/doctest.h>

#include <limits>

#include "engine/error.h"
#include "loader/onnx_fold.h"

using namespace branchsae;
using namespace branchsae::loader;

namespace {

struct Fixture {
  ::onnx::NodeProto proto;
  std::string file = "model.onnx";
  NodeView node{proto, file, 13};
  MemoryBudget budget{1 << 20};
};

Constant floats(const Shape& shape, const std::vector<float>& values) {
  Constant constant;
  constant.shape = shape;
  constant.floats = std::make_shared<HostTensor>(shape, values);
  return constant;
}

Constant integers(const Shape& shape, const std::vector<int64_t>& values) {
  Constant constant;
  constant.shape = shape;
  for (const int64_t value : values) constant.integers.push_back(Extent::known(value));
  return constant;
}

/// 0, 1, 2 ...
Constant counting(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return floats(shape, values);
}

std::vector<float> values_of(const Constant& constant) {
  REQUIRE(!constant.is_integral());
  CHECK(constant.floats->shape() == constant.shape);
  return {constant.floats->values().begin(), constant.floats->values().end()};
}

using Floats = std::vector<float>;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "transpose") {
  const std::vector<int64_t> order{2, 0, 1};
  const Constant turned = fold_transpose(node, counting({2, 3, 2}), order, budget);
  CHECK(turned.shape == Shape{2, 2, 3});
  CHECK(values_of(turned) == Floats{0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11});
}

TEST_CASE_FIXTURE(Fixture, "gather") {
  const Constant source = counting({2, 3, 2});
  const Constant picked = fold_gather(node, source, integers({2}, {-1, 0}), 1, budget);
  CHECK(picked.shape == Shape{2, 2, 2});
  CHECK(values_of(picked) == Floats{4, 5, 0, 1, 10, 11, 6, 7});
  const Constant scalar = fold_gather(node, source, integers({}, {1}), 0, budget);
  CHECK(scalar.shape == Shape{3, 2});
  CHECK(values_of(scalar) == Floats{6, 7, 8, 9, 10, 11});
  CHECK_THROWS_WITH_AS(fold_gather(node, source, integers({1}, {3}), 1, budget),
                       doctest::Contains("index [3]"), InputError);
  CHECK_THROWS_AS(fold_gather(node, source, integers({1}, {-4}), 1, budget), InputError);
}

TEST_CASE_FIXTURE(Fixture, "slice ranges follow numpy") {
  constexpr int64_t kEnd = std::numeric_limits<int64_t>::max(), kBegin = std::numeric_limits<int64_t>::min();
  const auto positions = [](int64_t start, int64_t end, int64_t step, int64_t extent) {
    const SliceRange range = slice_range(start, end, step, extent);
    std::vector<int64_t> list;
    for (int64_t i = 0; i < range.count; ++i) list.push_back(range.begin + i * range.step);
    return list;
  };
  using List = std::vector<int64_t>;
  CHECK(positions(1, 4, 1, 6) == List{1, 2, 3});
  CHECK(positions(-2, kEnd, 1, 6) == List{4, 5});
  CHECK(positions(0, kEnd, 4, 6) == List{0, 4});
  CHECK(positions(0, kEnd, kEnd, 6) == List{0});
  CHECK(positions(4, 1, 1, 6).empty());
  CHECK(positions(kEnd, kBegin, -1, 3) == List{2, 1, 0});
  CHECK(positions(-1, 0, -2, 6) == List{5, 3, 1});
  CHECK(positions(kEnd, kBegin, kBegin, 3) == List{2});
  CHECK(positions(0, kEnd, 1, 0).empty());
  CHECK(positions(kEnd, kBegin, -1, 0).empty());
}

TEST_CASE_FIXTURE(Fixture, "slice") {
  const std::vector<SliceRange> ranges{slice_range(1, 2, 1, 2), slice_range(-1, -4, -2, 3)};
  const Constant part = fold_slice(node, counting({2, 3}), ranges, budget);
  CHECK(part.shape == Shape{1, 2});
  CHECK(values_of(part) == Floats{5, 3});
}

TEST_CASE_FIXTURE(Fixture, "concat") {
  const Constant a = counting({2, 1, 2}), b = counting({2, 2, 2});
  const std::vector<const Constant*> both{&a, &b};
  const Constant joined = fold_concat(node, both, 1, budget);
  CHECK(joined.shape == Shape{2, 3, 2});
  CHECK(values_of(joined) == Floats{0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 6, 7});
}

TEST_CASE_FIXTURE(Fixture, "empty arrays of absurd outer extents end at once") {
  const Constant empty = floats({int64_t{1} << 40, 0}, {});
  CHECK(fold_gather(node, empty, integers({0}, {}), 1, budget).shape == Shape{int64_t{1} << 40, 0});
  const std::vector<const Constant*> twice{&empty, &empty};
  CHECK(fold_concat(node, twice, 1, budget).size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "arithmetic broadcasts") {
  const Constant sum =
      fold_arithmetic(node, Arithmetic::kSub, counting({2, 1, 2}), floats({3, 1}, {10, 20, 30}), budget);
  CHECK(sum.shape == Shape{2, 3, 2});
  CHECK(values_of(sum) == Floats{-10, -9, -20, -19, -30, -29, -8, -7, -18, -17, -28, -27});
  const Constant quotient =
      fold_arithmetic(node, Arithmetic::kDiv, integers({2}, {7, -7}), integers({}, {2}), budget);
  CHECK(to_string(quotient.integers) == "[3, -3]");
  CHECK_THROWS_AS(fold_arithmetic(node, Arithmetic::kAdd, counting({1}), integers({1}, {1}), budget),
                  InputError);
}

TEST_CASE_FIXTURE(Fixture, "the batch size stays symbolic where it is itself") {
  Constant batch = integers({1}, {0});
  batch.integers[0] = Extent::batch();
  const auto apply = [&](Arithmetic kind, const Constant& a, const Constant& b) {
    return to_string(fold_arithmetic(node, kind, a, b, budget).integers);
  };
  const Constant zero = integers({1}, {0}), one = integers({1}, {1}), two = integers({1}, {2});
  CHECK(apply(Arithmetic::kAdd, batch, zero) == "[N]");
  CHECK(apply(Arithmetic::kAdd, zero, batch) == "[N]");
  CHECK(apply(Arithmetic::kSub, batch, zero) == "[N]");
  CHECK(apply(Arithmetic::kSub, zero, batch) == "[?]");
  CHECK(apply(Arithmetic::kMul, one, batch) == "[N]");
  CHECK(apply(Arithmetic::kDiv, batch, one) == "[N]");
  CHECK(apply(Arithmetic::kDiv, one, batch) == "[?]");
  CHECK(apply(Arithmetic::kMul, batch, two) == "[?]");
  CHECK(apply(Arithmetic::kAdd, batch, batch) == "[?]");
}
