/// The network run on from an activation that was captured, changed or not.
#include <doctest/doctest.h>

#include <algorithm>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/passes.h"
#include "loader/onnx_loader.h"
#include "tests/reference/golden.h"

using namespace branchsae;
using reference::Array;

namespace {

constexpr int64_t kHeight = 96, kWidth = 80;

std::vector<float> copy_rows(const TapOutput& tap) {
  std::vector<float> rows;
  for (int64_t i = 0; i < tap.tokens().shape[0]; ++i) {
    const float* row = tap.tokens().row(i);
    rows.insert(rows.end(), row, row + tap.tokens().shape[1]);
  }
  return rows;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::abs(static_cast<double>(a[i])));
  }
  return most / largest;
}

/// A model of a golden set with two images, run whole.
struct Whole {
  Whole(const std::filesystem::path& path, const Array& images, const std::string& layer)
      : graph(load_onnx(path)), device(Device::cpu(2)), stream(device.make_stream()) {
    output = graph.value(graph.outputs.at(0)).name;
    const Array rows = reference::tokens(images);
    const std::vector<float> pixels(rows.data.begin(), rows.data.end());
    const Shape& shape = images.shape;
    Program program = device.compile(
        graph, {.taps = {layer, output}, .max_batch = shape[0], .height = kHeight, .width = kWidth});
    program.run(View<const float, 4>(pixels.data(), {shape[0], shape[2], shape[3], shape[1]}), *stream);
    const TapOutput tap = program.tap(0);
    grid = {tap.n, tap.height, tap.width, tap.tokens().shape[1]};
    activation = copy_rows(tap);
    result = copy_rows(program.tap(1));
    value = program.taps()[0].parts.at(0).value;
  }

  std::vector<float> resume(const std::vector<float>& changed) const {
    const Graph rest = resume_at(graph, value, {graph.outputs.at(0)});
    Program program =
        device.compile(rest, {.taps = {output}, .max_batch = grid[0], .height = grid[1], .width = grid[2]});
    program.run(View<const float, 4>(changed.data(), grid), *stream);
    return copy_rows(program.tap(0));
  }

  Graph graph;
  Device device;
  std::unique_ptr<Stream> stream;
  std::string output;
  ValueId value = kNoValue;
  std::array<int64_t, 4> grid{};
  std::vector<float> activation, result;
};

}  // namespace

TEST_CASE("resume: the captured activation of any layer gives the network's own output") {
  for (const char* name : {"torchvision", "lucid"}) {
    const reference::GoldenSet set = reference::read_golden(name);
    for (const std::filesystem::path& path : set.models) {
      for (const std::string layer : {"mixed3a", "mixed4c", "mixed5b"}) {
        CAPTURE(path.filename());
        CAPTURE(layer);
        const Whole whole(path, set.images, layer);
        CHECK(largest_difference(whole.result, whole.resume(whole.activation)) <= 1e-6);
      }
    }
  }
}

TEST_CASE("resume: a changed activation gives another output, another image's gives that image's") {
  const reference::GoldenSet set = reference::read_golden("torchvision");
  const Whole whole(set.models.front(), set.images, "mixed4c");
  std::vector<float> swapped = whole.activation;
  std::rotate(swapped.begin(), swapped.begin() + static_cast<std::ptrdiff_t>(swapped.size() / 2),
              swapped.end());
  std::vector<float> expected = whole.result;
  std::rotate(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(expected.size() / 2),
              expected.end());
  CHECK(largest_difference(expected, whole.resume(swapped)) <= 1e-6);
  CHECK(largest_difference(whole.result, whole.resume(std::vector<float>(swapped.size()))) > 1e-3);
}

TEST_CASE("resume: from the input nothing is cut, from one branch there is a way around") {
  const reference::GoldenSet set = reference::read_golden("torchvision");
  const Graph graph = load_onnx(set.models.front());
  CHECK(resume_at(graph, graph.input, graph.outputs).nodes.size() ==
        prune(graph, graph.outputs).nodes.size());
  const auto block = std::ranges::find(graph.blocks, "mixed4c", &Block::name);
  REQUIRE(block != graph.blocks.end());
  CHECK_THROWS_WITH_AS(resume_at(graph, block->branches.at(2).value, graph.outputs),
                       doctest::Contains("cannot go on from"), InputError);
  CHECK_THROWS_AS(resume_at(graph, 1 << 20, graph.outputs), InputError);
}

TEST_CASE("resume: layers behind can still be named, those before cannot") {
  const reference::GoldenSet set = reference::read_golden("torchvision");
  const Graph graph = load_onnx(set.models.front());
  const Graph rest = resume_at(graph, resolve_tap(graph, "mixed4c").parts.at(0).value, graph.outputs);
  CHECK(resolve_tap(rest, "mixed4d").width() == resolve_tap(graph, "mixed4d").width());
  CHECK_THROWS_AS(resolve_tap(rest, "mixed4a"), InputError);
}
