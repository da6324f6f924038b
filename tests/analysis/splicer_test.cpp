#include "analysis/splicing/splicer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "loader/onnx_loader.h"
#include "tests/reference/golden.h"

using namespace branchsae;
using nlohmann::json;

namespace {

constexpr int64_t kHeight = 96, kWidth = 80;
// float32 through a dozen layers, summed in other orders; a wrong channel shows at 1e-2 and more.
constexpr double kTolerance = 1e-5;

/// The small torchvision model, its images run up to a layer.
struct Scene {
  Scene(const json& golden, const std::string& tap_name)
      : graph(load_onnx(std::filesystem::path("tests/golden") / golden["model"].get<std::string>())),
        device(Device::cpu(2)),
        stream(device.make_stream()),
        tap(resolve_tap(graph, tap_name)),
        site(splice_site(graph, tap)) {
    const reference::Array images =
        reference::read_array(std::filesystem::path("tests/golden") / golden["input"].get<std::string>());
    const reference::Array rows = reference::tokens(images);
    const std::vector<float> pixels(rows.data.begin(), rows.data.end());
    const Shape& shape = images.shape;
    program = std::make_unique<Program>(device.compile(
        graph, {.taps = {site.layer, tap_name}, .max_batch = shape[0], .height = kHeight, .width = kWidth}));
    program->run(View<const float, 4>(pixels.data(), {shape[0], shape[2], shape[3], shape[1]}), *stream);
  }

  /// The tap's tokens, replaced.
  std::vector<float> replacement(const std::string& what) const {
    const auto tokens = program->tap(1).tokens();
    std::vector<float> rows(static_cast<size_t>(tokens.size()));
    for (int64_t c = 0; c < tokens.shape[1]; ++c) {
      double mean = 0;
      for (int64_t t = 0; t < tokens.shape[0]; ++t) mean += static_cast<double>(tokens(t, c));
      mean /= static_cast<double>(tokens.shape[0]);
      for (int64_t t = 0; t < tokens.shape[0]; ++t) {
        rows[static_cast<size_t>(t * tokens.shape[1] + c)] = what == "exact"  ? tokens(t, c)
                                                             : what == "mean" ? static_cast<float>(mean)
                                                                              : 0.0F;
      }
    }
    return rows;
  }

  HostTensor scores(Splicer& splicer, const std::string& what) const {
    const std::vector<float> rows = replacement(what);
    const auto layer = program->tap(0).tokens();
    return splicer.run_sync(*stream, site, layer,
                            View<const float, 2>(rows.data(), {layer.shape[0], tap.width()}));
  }

  Graph graph;
  Device device;
  std::unique_ptr<Stream> stream;
  Tap tap;
  SpliceSite site;
  std::unique_ptr<Program> program;
};

json read_golden() {
  return json::parse(std::ifstream("tests/golden/spliced.json"));
}

double error_of(const HostTensor& ours, const json& theirs) {
  double most = 0, largest = 0;
  for (size_t i = 0; i < theirs.size(); ++i) {
    for (size_t c = 0; c < theirs[i].size(); ++c) {
      const auto expected = theirs[i][c].get<double>();
      const auto got = static_cast<double>(ours[static_cast<int64_t>(i * theirs[i].size() + c)]);
      most = std::max(most, std::abs(got - expected));
      largest = std::max(largest, std::abs(expected));
    }
  }
  return most / largest;
}

}  // namespace

TEST_CASE("splicer: itself, zero and the mean give what ONNX Runtime gives on the cut graph") {
  const json golden = read_golden();
  for (const json& c : golden["cases"]) {
    const Scene scene(golden, c["tap"]);
    CAPTURE(c["tap"].get<std::string>());
    CAPTURE(c["replacement"].get<std::string>());
    const TapOutput layer = scene.program->tap(0);
    Splicer splicer(scene.device, scene.graph, scene.site, golden["output"], layer.n, layer.height,
                    layer.width);
    CHECK(error_of(scene.scores(splicer, c["replacement"]), c["scores"]) <= kTolerance);
  }
}

TEST_CASE("splicer: the activation itself changes nothing beyond 1e-6, run after run") {
  const json golden = read_golden();
  const Scene scene(golden, "mixed4c.5x5");
  const TapOutput layer = scene.program->tap(0);
  Splicer splicer(scene.device, scene.graph, scene.site, golden["output"], layer.n, layer.height,
                  layer.width);
  scene.scores(splicer, "zero");
  const HostTensor again = scene.scores(splicer, "exact");
  CHECK(error_of(again, golden["cases"][0]["scores"]) <= 1e-6);
}

TEST_CASE("splicer: what cannot be replaced says why") {
  const json golden = read_golden();
  const Graph graph = load_onnx("tests/golden/" + golden["model"].get<std::string>());
  CHECK_THROWS_WITH_AS(splice_site(graph, resolve_tap(graph, "mixed4a+mixed4b")),
                       doctest::Contains("joins several layers"), InputError);
  CHECK_THROWS_WITH_AS(splice_site(graph, resolve_tap(graph, "mixed4c.5x5:pre")),
                       doctest::Contains("cannot be replaced in the running network"), InputError);
  CHECK(splice_site(graph, resolve_tap(graph, "mixed4c.1x1+mixed4c.3x3")).begin == 0);

  const Scene scene(golden, "mixed4c");
  const TapOutput layer = scene.program->tap(0);
  Splicer splicer(scene.device, scene.graph, scene.site, golden["output"], 1, layer.height, layer.width);
  CHECK_THROWS_AS(splicer.run_sync(*scene.stream, scene.site, layer.tokens(), layer.tokens()),
                  ShapeError);  // two images
}
