// Constants that nodes make or test: Constant, ConstantOfShape, Shape, Cast, Equal, If.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"
#include "loader/onnx_tensor.h"

namespace branchsae::loader {

namespace {

using ::onnx::TensorProto;

Constant of_integers(const std::vector<int64_t>& values, Shape shape) {
  Constant constant;
  constant.shape = std::move(shape);
  std::ranges::transform(values, std::back_inserter(constant.integers), Extent::known);
  return constant;
}

Constant of_floats(const std::vector<float>& values, Shape shape) {
  Constant constant;
  constant.floats = std::make_shared<HostTensor>(shape, values);
  constant.shape = std::move(shape);
  return constant;
}

bool is_floating(int64_t type) {
  return type == TensorProto::FLOAT || type == TensorProto::DOUBLE || type == TensorProto::FLOAT16 ||
         type == TensorProto::BFLOAT16;
}

bool is_integral(int64_t type) {
  return (type >= TensorProto::UINT8 && type <= TensorProto::INT64) || type == TensorProto::BOOL ||
         type == TensorProto::UINT32 || type == TensorProto::UINT64;
}

}  // namespace

void read_constant(Importer& importer, const NodeView& node) {
  const std::string where = node.where();
  if (const TensorProto* tensor = node.tensor("value")) {
    importer.bind(node, read_tensor(*tensor, importer.folder(), where, importer.budget()));
  } else if (node.has("value_int")) {
    importer.bind(node, of_integers({node.integer("value_int", 0)}, {}));
  } else if (node.has("value_ints")) {
    const std::vector<int64_t> values = node.integers("value_ints");
    importer.bind(node, of_integers(values, {static_cast<int64_t>(values.size())}));
  } else if (node.has("value_float")) {
    importer.bind(node, of_floats({node.real("value_float", 0)}, {}));
  } else if (node.has("value_floats")) {
    const std::vector<float> values = node.reals("value_floats");
    importer.bind(node, of_floats(values, {static_cast<int64_t>(values.size())}));
  } else {
    node.fail("holds no number; only dense tensors of numbers are supported");
  }
}

void read_constant_of_shape(Importer& importer, const NodeView& node) {
  const Shape shape = importer.integer_list(node, 0, "shape");
  const int64_t count = checked_count(shape, node.where());
  Constant filler = of_floats({0.0F}, {1});
  if (const TensorProto* value = node.tensor("value")) {
    filler = read_tensor(*value, importer.folder(), node.where(), importer.budget());
    if (filler.size() != 1) node.fail(fmt::format("value has {} elements instead of one", filler.size()));
  }
  Constant result;
  result.shape = shape;
  if (filler.is_integral()) {
    importer.budget().spend(count, static_cast<int64_t>(sizeof(Extent)), node.where());
    result.integers.assign(static_cast<size_t>(count), filler.integers[0]);
  } else {
    importer.budget().spend(count, 4, node.where());
    auto floats = std::make_shared<HostTensor>(shape);
    std::ranges::fill(floats->values(), (*filler.floats)[0]);
    result.floats = std::move(floats);
  }
  importer.bind(node, std::move(result));
}

void read_shape(Importer& importer, const NodeView& node) {
  std::vector<Extent> extents;
  if (importer.is_constant(node, 0)) {
    std::ranges::transform(importer.constant(node, 0).shape, std::back_inserter(extents), Extent::known);
  } else {
    extents = importer.extents(importer.activation(node, 0));
  }
  const auto rank = static_cast<int64_t>(extents.size());
  // Attributes since operator set 15.
  const SliceRange range = slice_range(node.integer("start", 0), node.integer("end", rank), 1, rank);
  Constant result;
  result.shape = {range.count};
  result.integers.assign(extents.begin() + range.begin, extents.begin() + range.begin + range.count);
  importer.bind(node, std::move(result));
}

void read_cast(Importer& importer, const NodeView& node) {
  const int64_t type = node.integer("to", 0);
  if (!is_floating(type) && !is_integral(type)) node.fail(fmt::format("casts to unsupported type {}", type));
  if (!importer.is_constant(node, 0)) {
    if (!is_floating(type)) node.fail("casts what depends on the images to integers, which is not supported");
    importer.bind(node, importer.activation(node, 0));  // all activations are float32 here
    return;
  }
  const Constant source = importer.constant(node, 0);
  if (source.is_integral() == is_integral(type)) {
    importer.bind(node, source);
    return;
  }
  importer.budget().spend(source.size(), static_cast<int64_t>(sizeof(Extent)), node.where());
  if (source.is_integral()) {
    std::vector<float> values;
    for (const Extent& extent : source.integers) {
      if (!extent.is_known()) node.fail("casts a size that only the run knows, which is not supported");
      values.push_back(static_cast<float>(extent.value));
    }
    importer.bind(node, of_floats(values, source.shape));
    return;
  }
  std::vector<int64_t> values;
  for (const float value : source.floats->values()) {
    if (!(std::abs(value) < 0x1p63F)) node.fail(fmt::format("{} does not fit into an integer", value));
    values.push_back(type == TensorProto::BOOL ? value != 0.0F : static_cast<int64_t>(value));
  }
  importer.bind(node, of_integers(values, source.shape));
}

void read_equal(Importer& importer, const NodeView& node) {
  const Constant difference = fold_arithmetic(node, Arithmetic::kSub, importer.constant(node, 0),
                                              importer.constant(node, 1), importer.budget());
  if (!difference.is_integral()) node.fail("only integers can be compared");
  Constant result = difference;
  for (Extent& extent : result.integers) {
    if (extent.is_known()) {
      extent.value = extent.value == 0 ? 1 : 0;
    } else {
      extent = Extent::unknown();
    }
  }
  importer.bind(node, std::move(result));
}

/// Exporters leave If behind where a tensor's size decides; once sizes are known so is the branch.
void read_if(Importer& importer, const NodeView& node) {
  const Constant& condition = importer.constant(node, 0);
  if (!condition.is_integral() || condition.size() != 1 || !condition.integers[0].is_known()) {
    node.fail("the condition is not known before the network runs");
  }
  importer.inline_graph(node, node.graph(condition.integers[0].value != 0 ? "then_branch" : "else_branch"));
}

}  // namespace branchsae::loader
