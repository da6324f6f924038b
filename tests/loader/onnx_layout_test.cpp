// Layouts and channel picking, computed through the reference network: the numbers must come out right.
#include <doctest/doctest.h>

#include "engine/error.h"
#include "tests/loader/onnx_builder.h"
#include "tests/reference/network.h"

using namespace branchsae;
using namespace branchsae::test;
using reference::Array;

namespace {

constexpr double kRounding = 1e-6;  // float32 scales and shifts against double arithmetic

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Array counting_images(const Shape& shape) {
  Array images(shape);
  for (size_t i = 0; i < images.data.size(); ++i) images.data[i] = static_cast<double>(i % 17) - 8.0;
  return images;
}

Array run(const Graph& graph, const Array& images, const std::string& name) {
  const ValueId id = graph.find_value(name);
  REQUIRE(id != kNoValue);
  return reference::run_network(graph, images).at(static_cast<size_t>(id));
}

/// Channel c of the result is scale[c] * images[from[c]] + shift[c].
Array pick_channels(const Array& images, const std::vector<int64_t>& from, const std::vector<double>& scale,
                    const std::vector<double>& shift) {
  Array picked({images.dim(0), static_cast<int64_t>(from.size()), images.dim(2), images.dim(3)});
  for (int64_t n = 0; n < images.dim(0); ++n) {
    for (size_t c = 0; c < from.size(); ++c) {
      for (int64_t y = 0; y < images.dim(2); ++y) {
        for (int64_t x = 0; x < images.dim(3); ++x) {
          picked.at(n, static_cast<int64_t>(c), y, x) = scale[c] * images.at(n, from[c], y, x) + shift[c];
        }
      }
    }
  }
  return picked;
}

/// torchvision's transform_input: channels taken apart, scaled and joined again, in the given order.
OnnxBuilder transform_input(const std::vector<int64_t>& order) {
  OnnxBuilder builder(13);
  builder.input("x", {kDynamic, 3, 4, 5}).output("y");
  builder.integers("one", {1}, {1});
  std::vector<std::string> parts;
  for (size_t c = 0; c < order.size(); ++c) {
    const auto name = [&](const char* stem) { return std::string(stem).append(std::to_string(c)); };
    builder.integers(name("index"), {}, {order[c]});
    builder.floats(name("scale"), {}, {0.5F * static_cast<float>(c + 1)});
    builder.floats(name("shift"), {}, {static_cast<float>(c) - 1.0F});
    builder.node("Gather", {"x", name("index")}, {name("g")}).integer("axis", 1);
    builder.node("Unsqueeze", {name("g"), "one"}, {name("u")});
    builder.node("Mul", {name("u"), name("scale")}, {name("m")});
    builder.node("Add", {name("m"), name("shift")}, {name("a")});
    parts.push_back(name("a"));
  }
  builder.node("Concat", parts, {"joined"}).integer("axis", 1);
  builder.node("Relu", {"joined"}, {"y"});
  return builder;
}

}  // namespace

TEST_CASE("transform_input is one scale and shift a channel") {
  const Graph graph = transform_input({0, 1, 2}).load();
  CHECK(ops_of(graph) == "Affine Relu");
  const Array images = counting_images({2, 3, 4, 5});
  const Array expected = pick_channels(images, {0, 1, 2}, {0.5, 1, 1.5}, {-1, 0, 1});
  CHECK(reference::relative_error(run(graph, images, "joined"), expected) < kRounding);
}

TEST_CASE("transform_input that permutes or repeats channels is a 1x1 convolution") {
  const Graph graph = transform_input({2, 1, 0, 2}).load();
  CHECK(ops_of(graph) == "Conv Relu");
  const Array images = counting_images({2, 3, 4, 5});
  const Array expected = pick_channels(images, {2, 1, 0, 2}, {0.5, 1, 1.5, 2}, {-1, 0, 1, 2});
  CHECK(reference::relative_error(run(graph, images, "joined"), expected) < kRounding);
}

TEST_CASE("channels picked by Gather or Slice") {
  const Array images = counting_images({2, 3, 4, 5});
  OnnxBuilder gather(13);
  gather.input("x", {kDynamic, 3, 4, 5}).output("y").integers("bgr", {3}, {2, -2, 0});
  gather.node("Gather", {"x", "bgr"}, {"g"}).integer("axis", 1);
  gather.node("Relu", {"g"}, {"y"});
  const Array swapped = pick_channels(images, {2, 1, 0}, {1, 1, 1}, {0, 0, 0});
  CHECK(reference::relative_error(run(gather.load(), images, "g"), swapped) < kRounding);

  OnnxBuilder slice(9);
  slice.input("x", {kDynamic, 3, 4, 5}).output("y");
  slice.node("Slice", {"x"}, {"s"})
      .integers("axes", {1, 2})
      .integers("starts", {1, 0})
      .integers("ends", {3, 99});
  slice.node("Relu", {"s"}, {"y"});
  const Array last_two = pick_channels(images, {1, 2}, {1, 1}, {0, 0});
  CHECK(reference::relative_error(run(slice.load(), images, "s"), last_two) < kRounding);

  OnnxBuilder reversed(13);
  reversed.input("x", {kDynamic, 3, kDynamic, 5}).output("y");
  reversed.integers("start", {2}, {-1, 0})
      .integers("end", {2}, {-4, INT64_MAX})
      .integers("axes", {2}, {1, 2});
  reversed.integers("steps", {2}, {-1, 1});
  reversed.node("Slice", {"x", "start", "end", "axes", "steps"}, {"s"});
  reversed.node("Relu", {"s"}, {"y"});
  CHECK(reference::relative_error(run(reversed.load(), images, "s"), swapped) < kRounding);
}

TEST_CASE("features picked from [N, C] are a matrix") {
  OnnxBuilder builder(13);
  builder.input("x", {kDynamic, 5, 1, 1}).output("y").integers("index", {2}, {4, 1});
  builder.node("Flatten", {"x"}, {"f"});
  builder.node("Gather", {"f", "index"}, {"g"}).integer("axis", 1);
  builder.node("Relu", {"g"}, {"y"});
  const Graph graph = builder.load();
  CHECK(ops_of(graph) == "Flatten Linear Relu");
  const Array picked = run(graph, counting_images({2, 5, 1, 1}), "g");
  CHECK(picked.data == std::vector<double>{-4, -7, 1, -2});  // i % 17 - 8 at 4, 1, 9 and 6
}

TEST_CASE("picked features may be the graph's output") {
  OnnxBuilder builder(13);
  builder.input("x", {kDynamic, 5, 1, 1}).output("y").integers("start", {1}, {1}).integers("end", {1}, {4});
  builder.integers("axis", {1}, {1});
  builder.node("Flatten", {"x"}, {"f"});
  builder.node("Slice", {"f", "start", "end", "axis"}, {"y"});
  const Graph graph = builder.load();
  CHECK(ops_of(graph) == "Flatten Linear");
  CHECK(graph.value(graph.outputs.at(0)).shape == Shape{kDynamic, 3});
  CHECK(graph.value(graph.outputs.at(0)).name == "y");
}

TEST_CASE("picking that is not by channel is refused") {
  const auto error = [](int64_t axis, const std::vector<int64_t>& indices) {
    OnnxBuilder builder(13);
    builder.input("x", {kDynamic, 3, 4, 5}).output("y");
    builder.integers("i", {static_cast<int64_t>(indices.size())}, indices);
    builder.node("Gather", {"x", "i"}, {"g"}, "pick").integer("axis", axis);
    builder.node("Relu", {"g"}, {"y"});
    return builder.load_error();
  };
  CHECK(contains(error(2, {0}), "axis 2 of shape [N, 3, 4, 5]"));
  CHECK(contains(error(0, {0}), "only channels can be picked"));
  CHECK(contains(error(1, {3}), "index [3] is outside 3 channels"));
  CHECK(contains(error(1, {}), "picks no channel"));
}

TEST_CASE("an input [N, H, W, C] that is transposed first becomes [N, C, H, W]") {
  OnnxBuilder builder(13);
  builder.input("image", {1, 4, 5, 3}).output("y").floats("mean", {3}, {1, 2, 3});
  builder.floats("w", {3, 3, 1, 1}, {1, 0, 0, 0, 1, 0, 0, 0, 1});
  builder.node("Sub", {"image", "mean"}, {"centred"});
  builder.node("Transpose", {"centred"}, {"nchw"}).integers("perm", {0, 3, 1, 2});
  builder.node("Conv", {"nchw", "w"}, {"c"});
  builder.node("Transpose", {"c"}, {"nhwc"}).integers("perm", {0, 2, 3, 1});
  builder.node("Relu", {"nhwc"}, {"r"});
  builder.node("Transpose", {"r"}, {"back"}).integers("perm", {0, 3, 1, 2});
  builder.node("Concat", {"back", "c"}, {"y"}).integer("axis", 1);
  const Graph graph = builder.load();
  CHECK(graph.value(graph.input).name == "image");
  CHECK(graph.value(graph.input).shape == Shape{kDynamic, 3, 4, 5});
  CHECK(ops_of(graph) == "Affine Conv Relu Concat");
  const Array images = counting_images({2, 3, 4, 5});
  const Array expected = pick_channels(images, {0, 1, 2}, {1, 1, 1}, {-1, -2, -3});
  CHECK(reference::relative_error(run(graph, images, "nchw"), expected) < kRounding);
  CHECK(graph.find_value("back") == graph.find_value("r"));
}

TEST_CASE("operators take the axes of [N, H, W, C] where that is cheap") {
  OnnxBuilder builder(13);
  builder.input("image", {1, 4, 5, 3}).output("y").integers("pads", {8}, {0, 1, 2, 0, 0, 0, 0, 0});
  builder.node("Transpose", {"image"}, {"nchw"}).integers("perm", {0, 3, 1, 2});
  builder.node("Relu", {"nchw"}, {"a"});
  builder.node("Transpose", {"a"}, {"nhwc"}).integers("perm", {0, 2, 3, 1});
  builder.node("Concat", {"nhwc", "nhwc"}, {"joined"}).integer("axis", 3);
  builder.node("Pad", {"joined", "pads"}, {"padded"});
  builder.node("ReduceMean", {"padded"}, {"mean"}).integers("axes", {1, 2}).integer("keepdims", 1);
  builder.integers("flat", {2}, {1, 6});
  builder.node("Reshape", {"mean", "flat"}, {"y"});
  const Graph graph = builder.load();
  CHECK(ops_of(graph) == "Relu Concat Pad GlobalAveragePool Flatten");
  CHECK(graph.value(graph.find_value("padded")).shape == Shape{kDynamic, 6, 5, 7});
}

TEST_CASE("a layout that an operator cannot take is refused") {
  OnnxBuilder builder(13);
  builder.input("x", {1, 3, 4, 5}).output("y").weights("w", {2, 4, 1, 1});
  builder.node("Transpose", {"x"}, {"t"}).integers("perm", {0, 2, 3, 1});
  builder.node("Conv", {"t", "w"}, {"y"}, "conv");
  CHECK(contains(builder.load_error(), "not in the order [N, C, H, W]"));
  OnnxBuilder flat(13);
  flat.input("x", {1, 3, 4, 5}).output("y");
  flat.node("Transpose", {"x"}, {"t"}).integers("perm", {0, 2, 3, 1});
  flat.node("Flatten", {"t"}, {"y"});
  CHECK(contains(flat.load_error(), "axes are not in the order [N, C, H, W]"));
  for (const std::vector<int64_t>& order :
       {std::vector<int64_t>{0, 1}, {0, 1, 2, 2}, {0, 1, 2, -1}, {0, 1, 2, 4}}) {
    OnnxBuilder wrong(13);
    wrong.input("x", {1, 3, 4, 5}).output("y");
    wrong.node("Transpose", {"x"}, {"y"}).integers("perm", order);
    wrong.load_error();
  }
}
