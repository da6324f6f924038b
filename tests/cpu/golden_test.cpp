#include "tests/reference/golden.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "engine/device.h"
#include "loader/onnx_loader.h"

using namespace branchsae;
using reference::Array;

namespace {

/// Both sides are float32 through 22 layers and a softmax: 2e-6 has been seen, other processors sum in other
/// orders. A wrong channel or pad shows at 1e-2 and more.
constexpr double kTolerance = 1e-5;

/// [N, C, H, W] as the [N, H, W, C] floats that a program takes.
std::vector<float> nhwc(const Array& images) {
  const Array rows = reference::tokens(images);
  return {rows.data.begin(), rows.data.end()};
}

Array read_tap(const TapOutput& tap) {
  Array rows(Shape{tap.tokens().shape[0], tap.tokens().shape[1]});
  auto out = rows.data.begin();
  for (int64_t i = 0; i < tap.tokens().shape[0]; ++i) {
    out = std::copy_n(tap.tokens().row(i), tap.tokens().shape[1], out);
  }
  return rows;
}

Array columns(const Array& rows, int64_t begin, int64_t end) {
  Array part(Shape{rows.dim(0), end - begin});
  for (int64_t i = 0; i < rows.dim(0); ++i) {
    std::copy_n(rows.data.begin() + i * rows.dim(1) + begin, end - begin,
                part.data.begin() + i * part.dim(1));
  }
  return part;
}

/// Taps by name on the CPU, as a library user would: whole blocks and outputs, then one branch before and
/// after ReLU.
void check_model(const std::filesystem::path& path, const reference::GoldenSet& set) {
  const Graph graph = load_onnx(path);
  CompileOptions options{.taps = {}, .max_batch = set.images.dim(0), .height = 96, .width = 80};
  for (const reference::GoldenOutput& output : set.outputs) options.taps.push_back(output.name());
  options.taps.insert(options.taps.end(), {"mixed4a.5x5", "mixed4a.5x5:pre"});
  const Device device = Device::cpu(2);
  Program program = device.compile(graph, options);
  const auto stream = device.make_stream();
  const std::vector<float> images = nhwc(set.images);
  const Shape& shape = set.images.shape;
  program.run(View<const float, 4>(images.data(), {shape[0], shape[2], shape[3], shape[1]}), *stream);

  for (const reference::GoldenOutput& output : set.outputs) {
    const Array expected = reference::tokens(output.value);
    const double error = reference::relative_error(read_tap(program.tap(output.name())), expected);
    CHECK_MESSAGE(error <= kTolerance, output.name(), ": ", error);
  }
  const auto is_4a = [](const auto& named) { return named.name == "mixed4a" || named.name == "5x5"; };
  const auto block = std::ranges::find_if(set.blocks, is_4a);
  const auto branch = std::ranges::find_if(block->branches, is_4a);
  const auto whole = std::ranges::find(set.outputs, "mixed4a", &reference::GoldenOutput::block);
  REQUIRE(whole != set.outputs.end());
  const Array expected = columns(reference::tokens(whole->value), branch->begin, branch->end);
  Array before = read_tap(program.tap("mixed4a.5x5:pre"));
  CHECK(reference::relative_error(read_tap(program.tap("mixed4a.5x5")), expected) <= kTolerance);
  CHECK(std::ranges::min(before.data) < 0);
  for (double& number : before.data) number = std::max(number, 0.0);
  CHECK(reference::relative_error(before, expected) <= kTolerance);
}

void check_set(const char* name) {
  const reference::GoldenSet set = reference::read_golden(name);
  for (const std::filesystem::path& path : set.models) {
    CAPTURE(path.filename());
    check_model(path, set);
  }
}

}  // namespace

TEST_CASE("golden: torchvision's exports on the CPU give ONNX Runtime's values") {
  check_set("torchvision");
}

TEST_CASE("golden: lucid's exports on the CPU give ONNX Runtime's values") {
  check_set("lucid");
}

TEST_CASE("golden: the old model zoo's files on the CPU give ONNX Runtime's values") {
  check_set("zoo");
}
