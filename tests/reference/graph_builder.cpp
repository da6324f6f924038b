#include "tests/reference/graph_builder.h"

#include <cmath>

#include "engine/passes.h"

namespace branchsae::reference {

GraphBuilder::GraphBuilder(int64_t channels, uint64_t seed) : random_(seed, 0) {
  graph_.source = "test graph";
  graph_.values.push_back({"data", {kDynamic, channels, kDynamic, kDynamic}});
  graph_.input = 0;
}

ValueId GraphBuilder::append(Op op, std::vector<ValueId> inputs, Shape shape) {
  const auto id = static_cast<ValueId>(graph_.values.size());
  const std::string name = std::string(op_name(op)) + "_" + std::to_string(id);
  graph_.values.push_back({name, std::move(shape)});
  graph_.nodes.push_back({name, std::move(op), std::move(inputs), id});
  return id;
}

ConstTensor GraphBuilder::normal_tensor(const Shape& shape, double deviation) {
  auto tensor = std::make_shared<HostTensor>(shape);
  for (float& number : tensor->values()) number = static_cast<float>(deviation * random_.normal());
  return tensor;
}

ValueId GraphBuilder::conv(ValueId src, int64_t outputs, const Window& sliding, int64_t groups, bool relu) {
  const int64_t inputs = channels(src) / groups;
  const int64_t terms = inputs * sliding.kernel[0] * sliding.kernel[1];
  ConvOp op;
  op.weight = normal_tensor({outputs, inputs, sliding.kernel[0], sliding.kernel[1]},
                            1 / std::sqrt(static_cast<double>(terms)));
  op.bias = normal_tensor({outputs}, 0.1);
  op.window = sliding;
  op.groups = groups;
  op.relu = relu;
  return append(std::move(op), {src}, {kDynamic, outputs, kDynamic, kDynamic});
}

ValueId GraphBuilder::linear(ValueId src, int64_t inputs, int64_t outputs, bool relu) {
  LinearOp op;
  op.weight = normal_tensor({outputs, inputs}, 1 / std::sqrt(static_cast<double>(inputs)));
  op.bias = normal_tensor({outputs}, 0.1);
  op.relu = relu;
  return append(std::move(op), {src}, {kDynamic, outputs});
}

ValueId GraphBuilder::affine(ValueId src, bool shifted) {
  const Shape shape{channels(src)};
  auto scale = std::make_shared<HostTensor>(shape);
  for (float& number : scale->values()) number = static_cast<float>(0.5 + random_.uniform());
  return append(AffineOp{scale, normal_tensor(shape, shifted ? 1.0 : 0.0)}, {src}, graph_.value(src).shape);
}

ValueId GraphBuilder::concat(const std::vector<ValueId>& parts) {
  Shape shape = graph_.value(parts.front()).shape;
  shape[1] = 0;
  for (const ValueId part : parts) shape[1] += channels(part);
  return append(ConcatOp{}, parts, std::move(shape));
}

ValueId GraphBuilder::add(Op op, const std::vector<ValueId>& inputs) {
  return append(std::move(op), inputs, graph_.value(inputs.front()).shape);
}

ValueId GraphBuilder::flatten(ValueId src, int64_t numbers) {
  return append(FlattenOp{}, {src}, {kDynamic, numbers});
}

Graph GraphBuilder::graph(const std::vector<ValueId>& outputs) const {
  return prune(graph_, outputs);
}

Graph GraphBuilder::whole_graph(const std::vector<ValueId>& outputs) const {
  Graph copy = graph_;
  copy.outputs = outputs;
  return copy;
}

Window window(int64_t kernel, int64_t stride, int64_t pad) {
  Window square;
  square.kernel = {kernel, kernel};
  square.stride = {stride, stride};
  square.pad_begin = square.pad_end = {pad, pad};
  return square;
}

Array random_images(const Shape& shape, uint64_t seed) {
  Array images{shape};
  Random random(seed, 1);
  // Rounded to float32, so that backends can be given the very same images.
  for (double& number : images.data) number = static_cast<float>(random.normal());
  return images;
}

}  // namespace branchsae::reference
