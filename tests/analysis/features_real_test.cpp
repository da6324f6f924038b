// Known features of the real network on real photos; skipped without the data folder.
#include <doctest/doctest.h>

#include <algorithm>

#include "analysis/features/feature_table.h"
#include "analysis/features/image_variants.h"
#include "analysis/features/scan.h"
#include "loader/image_source.h"
#include "loader/onnx_loader.h"
#include "tests/analysis/small_network.h"
#include "tests/test_data.h"

using namespace branchsae;

namespace {

constexpr int32_t kFirstDog = 151, kLastDog = 268, kFirstThing = 398;

/// 30 dogs and 30 things, by the classes in their names.
std::vector<int64_t> dogs_and_things(const ImageSource& images) {
  std::vector<int64_t> chosen;
  int64_t dogs = 0, things = 0;
  for (int64_t i = 0; i < images.size(); ++i) {
    const int32_t label = images.info(i).label;
    if (label >= kFirstDog && label <= kLastDog && label % 3 == 0 && dogs++ < 30) chosen.push_back(i);
    if (label >= kFirstThing && label % 19 == 0 && things++ < 30) chosen.push_back(i);
  }
  return chosen;
}

}  // namespace

TEST_CASE("real photos: some channel of mixed4c.5x5 tells dogs from things, and grey photos excite less") {
  const auto data = test::data_folder();
  if (!data) return test::skip("needs the model and the photos");
  const Graph graph = load_onnx((*data / "model" / "googlenet.onnx").string());
  const auto images = open_images((*data / "images").string());
  std::vector<SaeFile> saes;
  saes.push_back(test::neurons("mixed4c.5x5", 64, 64));
  const EvaluateOptions options{.images = dogs_and_things(*images), .forward_batch = 15};
  REQUIRE(options.images.size() == 60);
  const Device device = Device::cpu(2);
  const FeatureScans scans = scan_features(device, graph, *images, saes, options);
  const VariantImages grey(*images, ImageVariant::kGrey);
  const VariantScan grey_scan = scan_variant(device, graph, grey, saes, scans, options);

  std::vector<std::string> ids;
  const auto classes = builtin_class_list();
  for (int64_t i = 0; i < images->size(); ++i) ids.push_back(classes->at(images->info(i).label).wordnet_id);
  // Only the photos that were scanned: others would count as silent.
  for (int64_t i = 0; i < images->size(); ++i) {
    if (!std::ranges::binary_search(options.images, i)) ids[static_cast<size_t>(i)].clear();
  }
  const ImageSynsets labels(WordNet::built_in(), ids);
  const FeatureScan& scan = scans.scans.front();
  const FeatureTable table =
      feature_table(scan.scores, scan.grid, &labels, {grey_scan.scores.data(), nullptr});
  CHECK(table.labelled == 60);
  double best = 0, colour = 0;
  int64_t coloured = 0;
  for (const FeatureRow& row : table.rows) {
    const Selectivity& dog = row.concepts.at("dog");
    CHECK(dog.ranks.labelled == 30);
    if (dog.q < 0.01) best = std::max(best, dog.ranks.auroc);
    if (row.colour_index) colour += *row.colour_index;
    coloured += row.colour_index ? 1 : 0;
  }
  // The branch is known for heads and fur of dogs (distill.pub/2020/circuits/zoom-in).
  CHECK(best > 0.9);
  CHECK(coloured > 50);
  CHECK(colour / static_cast<double>(coloured) > 0.05);
  CHECK(colour / static_cast<double>(coloured) < 0.6);
}
