#include "analysis/splicing/evaluate_splicing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "loader/onnx_loader.h"
#include "tests/analysis/small_network.h"

using namespace branchsae;
using nlohmann::json;
using test::ArrayImages;
using test::neurons;

namespace {

template <class... Files>
std::vector<SaeFile> list(Files... files) {
  std::vector<SaeFile> all;
  (all.push_back(std::move(files)), ...);
  return all;
}

struct Scene {
  Scene()
      : golden(json::parse(std::ifstream("tests/golden/spliced.json"))),
        graph(load_onnx("tests/golden/" + golden["model"].get<std::string>())),
        images(reference::read_array("tests/golden/" + golden["input"].get<std::string>()), {3, 7}) {}

  SplicingResult run(const std::vector<SaeFile>& saes, std::vector<int64_t> ks) const {
    EvaluateOptions options{.images = {0, 1}, .ks = std::move(ks)};
    return evaluate_splicing(Device::cpu(2), graph, images, saes, options);
  }
  int64_t width(const std::string& tap) const { return resolve_tap(graph, tap).width(); }
  /// Mean cross-entropy of ONNX Runtime's scores.
  double cross_entropy(const std::string& tap, const std::string& replacement) const {
    PredictionComparison comparison;
    for (const json& c : golden["cases"]) {
      if (c["tap"] != tap || c["replacement"] != replacement) continue;
      for (size_t i = 0; i < 2; ++i) {
        const auto scores = c["scores"][i].get<std::vector<float>>();
        comparison.add(scores, scores, images.info(static_cast<int64_t>(i)).label);
      }
    }
    return comparison.sums().mean_cross_entropy();
  }

  json golden;
  Graph graph;
  ArrayImages images;
};

}  // namespace

TEST_CASE("splicing: mean and zero cost what ONNX Runtime says, a perfect autoencoder nothing") {
  const Scene scene;
  for (const std::string tap : {"mixed4c", "mixed4c.5x5"}) {
    CAPTURE(tap);
    const int64_t d = scene.width(tap);
    const SplicingResult result = scene.run(list(neurons(tap, d, d)), {1, d});
    CHECK(result.images == 2);
    const SplicingEvaluation& evaluation = result.evaluations.at(0);
    const auto loss = [&](Replacement replacement, int64_t k = 0) {
      return evaluation.find(replacement, k).predictions.sums().mean_cross_entropy();
    };
    CHECK(evaluation.clean.sums().labelled == 2);
    CHECK(evaluation.clean.sums().mean_cross_entropy() ==
          doctest::Approx(scene.cross_entropy(tap, "exact")).epsilon(1e-5));
    CHECK(loss(Replacement::kMean) == doctest::Approx(scene.cross_entropy(tap, "mean")).epsilon(1e-5));
    CHECK(loss(Replacement::kZero) == doctest::Approx(scene.cross_entropy(tap, "zero")).epsilon(1e-5));

    const PredictionSums& perfect = evaluation.find(Replacement::kReconstruction, d).predictions.sums();
    CHECK(std::abs(perfect.mean_cross_entropy() - evaluation.clean.sums().mean_cross_entropy()) <= 1e-6);
    CHECK(perfect.mean_divergence() <= 1e-6);
    CHECK(perfect.same_top1 == 2);
    CHECK(evaluation.find(Replacement::kReconstruction, 1).predictions.sums().mean_divergence() >
          100 * perfect.mean_divergence());
  }
}

TEST_CASE("splicing: several autoencoders at once are each as alone; a joined tap says why not") {
  const Scene scene;
  const int64_t d = scene.width("mixed4c.5x5"), whole = scene.width("mixed4d");
  const SplicingResult together = scene.run(
      list(neurons("mixed4c.5x5", d, 2), neurons("mixed4a+mixed4b", scene.width("mixed4a+mixed4b"), 2),
           neurons("mixed4d", whole, 8)),
      {});
  const SplicingResult alone = scene.run(list(neurons("mixed4d", whole, 8)), {});
  const auto divergence = [](const SplicingEvaluation& evaluation, int64_t k) {
    return evaluation.find(Replacement::kReconstruction, k).predictions.sums().divergence;
  };
  CHECK(divergence(together.evaluations.at(2), 8) == divergence(alone.evaluations.at(0), 8));
  CHECK(together.evaluations.at(1).refused.find("joins several layers") != std::string::npos);
  CHECK(together.evaluations.at(1).spliced.empty());
  CHECK_THROWS_AS(together.evaluations.at(0).find(Replacement::kReconstruction, 5), InputError);
  CHECK_THROWS_AS(scene.run(list(neurons("mixed4c.5x5", d + 1, 2)), {}), InputError);
}
