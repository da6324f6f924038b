#include "analysis/splicing/evaluate_splicing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "analysis/splicing/reconstructor.h"
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

  SplicingResult run(const std::vector<SaeFile>& saes, std::vector<int64_t> ks, bool splice = true,
                     int64_t kept_bytes = int64_t{1} << 30, int64_t batch = 2) const {
    const SplicingOptions options{.evaluate = {.images = {0, 1}, .ks = std::move(ks), .forward_batch = batch},
                                  .splice = splice,
                                  .kept_bytes = kept_bytes};
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
           neurons("mixed4d", whole, 8), neurons("mixed4d", whole, 3)),
      {});
  const SplicingResult alone = scene.run(list(neurons("mixed4d", whole, 8)), {});
  const auto divergence = [](const SplicingEvaluation& evaluation, int64_t k) {
    return evaluation.find(Replacement::kReconstruction, k).predictions.sums().divergence;
  };
  CHECK(divergence(together.evaluations.at(2), 8) == divergence(alone.evaluations.at(0), 8));
  CHECK(together.evaluations.at(3).find(Replacement::kZero).predictions.sums().divergence ==
        alone.evaluations.at(0).find(Replacement::kZero).predictions.sums().divergence);
  CHECK(divergence(together.evaluations.at(3), 3) > divergence(together.evaluations.at(2), 8));
  CHECK(together.evaluations.at(1).refused.find("joins several layers") != std::string::npos);
  CHECK(together.evaluations.at(1).spliced.empty());
  CHECK(together.evaluations.at(1).reconstructions.at(0).figures.tokens ==
        together.evaluations.at(2).reconstructions.at(0).figures.tokens);
  CHECK_THROWS_AS(together.evaluations.at(0).find(Replacement::kReconstruction, 5), InputError);
  CHECK_THROWS_AS(scene.run(list(neurons("mixed4c.5x5", d + 1, 2)), {}), InputError);
}

TEST_CASE("splicing: figures of the reconstruction agree with those of evaluate") {
  const Scene scene;
  const int64_t d = scene.width("mixed4d");
  const auto saes = list(neurons("mixed4d", d, 8));
  const SplicingResult result = scene.run(saes, {2, 8, d}, false);
  const EvaluateResult figures =
      evaluate(Device::cpu(2), scene.graph, scene.images, saes, {.images = {0, 1}, .ks = {2, 8, d}});
  const SplicingEvaluation& evaluation = result.evaluations.at(0);
  REQUIRE(evaluation.reconstructions.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const SaeMetrics& metrics = figures.evaluations[i].metrics;
    const ReconstructionFigures& ours = evaluation.reconstructions[i].figures;
    CHECK(evaluation.reconstructions[i].k == figures.evaluations[i].k);
    CHECK(ours.tokens == metrics.tokens);
    CHECK(to_json(evaluation.reconstructions[i].metrics) == to_json(metrics));
    CHECK(evaluation.reconstructions[i].metrics.mean == metrics.mean);
    // decode() rounds x_hat to float32, the sums of evaluate() see the residual.
    CHECK(ours.squared_error_norm == doctest::Approx(metrics.mse * static_cast<double>(d)).epsilon(1e-5));
    // What a positive part of a token leaves out only shortens it.
    CHECK(ours.norm_ratio <= 1);
    CHECK(ours.reconstruction_bias == doctest::Approx(1).epsilon(1e-6));
    CHECK(ours.explained_variance_centred >= metrics.explained_variance);
  }
  CHECK(evaluation.reconstructions[2].figures.norm_ratio == doctest::Approx(1).epsilon(1e-6));
  CHECK(evaluation.reconstructions[0].figures.norm_ratio < evaluation.reconstructions[1].figures.norm_ratio);
  CHECK(evaluation.refused == "the network was not run on");
  CHECK(evaluation.spliced.empty());
}

TEST_CASE("splicing: without labels only what needs none, without classes no splicing") {
  const Scene scene;
  const int64_t d = scene.width("mixed4c.5x5");
  const auto saes = list(neurons("mixed4c.5x5", d, 4));
  SplicingOptions options{.evaluate = {.images = {0, 1}}, .labelled = false};
  const SplicingEvaluation unlabelled =
      evaluate_splicing(Device::cpu(2), scene.graph, scene.images, saes, options).evaluations.at(0);
  const PredictionSums& sums = unlabelled.find(Replacement::kReconstruction, 4).predictions.sums();
  CHECK(sums.images == 2);
  CHECK(sums.labelled == 0);
  CHECK(std::isnan(sums.mean_cross_entropy()));
  CHECK(std::isnan(unlabelled.recovered(4, Replacement::kZero)));
  CHECK(sums.mean_divergence() > 0);
  CHECK(unlabelled.divergence_recovered(4, Replacement::kZero) > 0);

  Graph headless = load_onnx("tests/golden/" + scene.golden["model"].get<std::string>());
  headless.outputs = {headless.blocks.back().value};
  options.labelled = true;
  const SplicingEvaluation refused =
      evaluate_splicing(Device::cpu(2), headless, scene.images, saes, options).evaluations.at(0);
  CHECK(refused.refused.find("classifies nothing") != std::string::npos);
  CHECK(refused.reconstructions.size() == 1);
}

TEST_CASE("splicing: tokens in memory give what a second pass over the images gives") {
  const Scene scene;
  const int64_t d = scene.width("mixed4c.5x5"), whole = scene.width("mixed4d");
  const auto saes = list(neurons("mixed4c.5x5", d, 2), neurons("mixed4d", whole, 8));
  for (const int64_t batch : {1, 2}) {
    const SplicingResult kept = scene.run(saes, {}, true, int64_t{1} << 30, batch),
                         again = scene.run(saes, {}, true, 0, batch);
    for (size_t i = 0; i < 2; ++i) {
      CAPTURE(i);
      const SplicingEvaluation &a = kept.evaluations[i], &b = again.evaluations[i];
      for (const Replacement which : {Replacement::kMean, Replacement::kZero}) {
        CHECK(a.find(which).predictions.sums().divergence == b.find(which).predictions.sums().divergence);
        CHECK(a.find(which).predictions.sums().divergence > 0);
      }
      CHECK(a.find(Replacement::kMean).predictions.sums().divergence !=
            a.find(Replacement::kZero).predictions.sums().divergence);
      const ReconstructionFigures &x = a.reconstructions[0].figures, &y = b.reconstructions[0].figures;
      CHECK(x.explained_variance_by_token == y.explained_variance_by_token);
      CHECK(x.explained_variance_centred == y.explained_variance_centred);
      CHECK(x.explained_variance_one_mean == y.explained_variance_one_mean);
    }
  }
}

TEST_CASE("splicing: it counts the images of both passes, and stops in either") {
  const Scene scene;
  const auto saes = list(neurons("mixed4c.5x5", scene.width("mixed4c.5x5"), 2));
  for (const int64_t bytes : {int64_t{0}, int64_t{1} << 30}) {
    SplicingOptions options{.evaluate = {.images = {0, 1}, .forward_batch = 1}, .kept_bytes = bytes};
    std::vector<int64_t> seen;
    size_t stop_after = 9;
    const EvaluateCallbacks callbacks{.progress =
                                          [&](int64_t done, int64_t total) {
                                            CHECK(total == 4);
                                            seen.push_back(done);
                                          },
                                      .stop_requested = [&] { return seen.size() >= stop_after; }};
    const auto run = [&] {
      return evaluate_splicing(Device::cpu(2), scene.graph, scene.images, saes, options, callbacks);
    };
    CHECK_FALSE(run().stopped);
    CHECK(seen == std::vector<int64_t>{1, 2, 3, 4});
    for (const size_t after : {1, 3}) {
      seen.clear();
      stop_after = after;
      CHECK(run().stopped);
    }
  }
}

TEST_CASE("splicing: several k from one encoding are each as alone") {
  const Scene scene;
  const auto saes = list(neurons("mixed4d", scene.width("mixed4d"), 8));
  const SplicingEvaluation together = scene.run(saes, {1, 5, 20}).evaluations.at(0);
  for (const int64_t k : {1, 5, 20}) {
    const SplicingEvaluation alone = scene.run(saes, {k}).evaluations.at(0);
    const auto& ours = together.find(Replacement::kReconstruction, k).predictions.sums();
    const auto& theirs = alone.find(Replacement::kReconstruction, k).predictions.sums();
    CHECK(ours.divergence == theirs.divergence);
    CHECK(ours.cross_entropy == theirs.cross_entropy);
  }
}

TEST_CASE("the largest of a selection, ties to the lower index") {
  const std::vector<float> values{2, 5, 3, 5, 0};
  const std::vector<int32_t> indices{3, 4, 7, 9, -1};
  const auto kept = [&](size_t k) {
    std::vector<float> to(k, -1.0F);
    std::vector<int32_t> at(k, 77);
    keep_largest(values, indices, to, at);
    return std::pair(to, at);
  };
  CHECK(kept(1) == std::pair(std::vector<float>{5}, std::vector<int32_t>{4}));
  CHECK(kept(2) == std::pair(std::vector<float>{5, 5}, std::vector<int32_t>{4, 9}));
  CHECK(kept(3) == std::pair(std::vector<float>{5, 3, 5}, std::vector<int32_t>{4, 7, 9}));
  CHECK(kept(5) == std::pair(values, indices));
  CHECK(kept(6) == std::pair(std::vector<float>{2, 5, 3, 5, 0, 0}, std::vector<int32_t>{3, 4, 7, 9, -1, -1}));
}
