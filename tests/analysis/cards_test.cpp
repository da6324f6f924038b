#include "analysis/features/cards.h"

#include <doctest/doctest.h>

#include <set>

#include "analysis/features/firing.h"
#include "analysis/features/label_precision.h"
#include "engine/random.h"
#include "loader/imagenet_classes.h"

using namespace branchsae;

namespace {

/// Latent i fires on the first counts[i] of 100 images, with value image + 1.
ImageScores firing_on(const std::vector<int32_t>& counts) {
  ImageScores scores(std::ssize(counts), 1);
  const auto k = static_cast<int64_t>(counts.size());
  for (int32_t image = 0; image < 100; ++image) {
    std::vector<float> values(counts.size());
    std::vector<int32_t> indices(counts.size(), -1);
    size_t slot = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      if (image >= counts[i]) continue;
      values[slot] = static_cast<float>(image + 1);
      indices[slot++] = static_cast<int32_t>(i);
    }
    scores.add(image, {values.data(), {1, k}}, {indices.data(), {1, k}});
  }
  return scores;
}

}  // namespace

TEST_CASE("cards: chosen evenly over the densities of live latents, whatever else") {
  // By density: 5 (1), 0 (10), 3 (20), 1 (30), 4 (40), 6 (50); 2 is dead.
  const ImageScores scores = firing_on({10, 30, 0, 20, 40, 1, 50});
  CHECK(evenly_by_density(scores, 3) == std::vector<int64_t>{0, 1, 6});
  CHECK(evenly_by_density(scores, 1) == std::vector<int64_t>{1});
  CHECK(evenly_by_density(scores, 100) == std::vector<int64_t>{0, 1, 3, 4, 5, 6});
  CHECK(evenly_by_density(scores, 0).empty());
}

TEST_CASE("cards: quantiles of the images that a latent fires on, rising") {
  const ImageScores scores = firing_on({40, 3});
  const FeatureCard card = make_card(scores, 0, 4);
  REQUIRE(card.quantiles.size() == 4);
  for (size_t i = 0; i < 4; ++i) CHECK(card.quantiles[i].max == static_cast<float>(5 + 10 * i + 1));
  CHECK(card.top.front().max == 40.0F);
  CHECK(make_card(scores, 1, 4).quantiles.size() == 3);
}

TEST_CASE("heat maps: the latent's values at every position of its card's images, and of no others") {
  const ImageScores scores = firing_on({2});
  HeatMaps maps({make_card(scores, 0, 1)});  // the best image and the one in the middle: 1 and 1
  CHECK(maps.images() == std::vector<int64_t>{1});
  const std::vector<int64_t> images = {0, 1};
  const std::vector<float> values = {1, 9, 2, 8, 3, 7, 4, 6};
  const std::vector<int32_t> indices = {0, 1, 0, 1, 1, 2, 0, 2};
  CodeBatch batch;
  batch.k = 2;
  batch.images = images;
  batch.tokens_per_image = batch.codes_per_image = 2;
  batch.values = {values.data(), {4, 2}};
  batch.indices = {indices.data(), {4, 2}};
  maps.add(batch);
  CHECK(maps.of(0, 1) == std::vector<float>{0, 4});
  CHECK(maps.of(0, 0).empty());
  CHECK(maps.of(1, 1).empty());
  CodeStore codes(3, 2);
  for (size_t i = 0; i < 2; ++i)
    codes.add_image(batch.values.rows(batch.first(i), 2), batch.indices.rows(batch.first(i), 2));
  HeatMaps of_codes({make_card(scores, 0, 1)});
  of_codes.add(codes, images);
  CHECK(of_codes.of(0, 1) == maps.of(0, 1));
  CHECK(of_codes.of(0, 0).empty());
  const auto firing = firing_latents(batch, 1, {1, 2});
  REQUIRE(firing.size() == 3);
  CHECK(firing[0].latent == 2);
  CHECK(firing[0].max == 7.0F);
  CHECK(firing[0].x == 0);
  CHECK(firing[0].share == 1);
  CHECK(firing[1].latent == 0);
  CHECK(firing[1].x == 1);
  CHECK(firing[2].z == std::vector<float>{3, 0});
}

TEST_CASE("label precision: 1 for a latent that loves dogs, chance for one that does not care") {
  std::vector<std::string> ids;
  for (const loader::ImagenetClass& c : loader::imagenet_classes()) ids.emplace_back(c.wordnet_id);
  const ImageSynsets labels(WordNet::built_in(), ids);
  const std::vector<uint8_t> dog = labels.below(kDog);
  ImageScores loving(1, 1), careless(40, 1);
  Random random(3, 0);
  for (int32_t image = 0; image < 1000; ++image) {
    const float value = 1 + static_cast<float>(random.uniform());
    const int32_t index = dog[static_cast<size_t>(image)] != 0 ? 0 : -1;
    loving.add(image, {&value, {1, 1}}, {&index, {1, 1}});
    std::vector<float> values;
    std::vector<int32_t> indices;
    for (int32_t i = 0; i < 40; ++i) {
      values.push_back(1 + static_cast<float>(random.uniform()));
      indices.push_back(i);
    }
    careless.add(image, {values.data(), {1, 40}}, {indices.data(), {1, 40}});
  }
  const LabelPrecision found = label_precision(loving, labels);
  CHECK(found.labelled_images == 1000);
  CHECK(found.labels == 1);
  CHECK(found.precision == 1);
  CHECK(found.chance < 0.15);
  CHECK(label_precision(careless, labels).labels <= 2);  // of 40, each found by chance at q < 0.05
}
