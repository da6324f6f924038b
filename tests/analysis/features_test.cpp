#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "analysis/features/enrichment.h"
#include "analysis/features/image_scores.h"
#include "analysis/features/labels.h"
#include "analysis/features/selectivity.h"
#include "engine/error.h"
#include "engine/random.h"
#include "loader/imagenet_classes.h"
#include "tests/analysis/uniformity.h"

using namespace branchsae;

namespace {

/// Codes of one image, written as (position, latent, value).
struct Codes {
  Codes(int64_t positions, int64_t k)
      : width(k), values(static_cast<size_t>(positions * k)), indices(values.size(), -1) {}
  void set(int64_t position, int64_t slot, int32_t latent, float value) {
    indices[static_cast<size_t>(position * width + slot)] = latent;
    values[static_cast<size_t>(position * width + slot)] = value;
  }
  int64_t positions() const { return static_cast<int64_t>(values.size()) / width; }
  View<const float, 2> value_view() const { return {values.data(), {positions(), width}}; }
  View<const int32_t, 2> index_view() const { return {indices.data(), {positions(), width}}; }

  int64_t width;
  std::vector<float> values;
  std::vector<int32_t> indices;
};

void add(ImageScores& scores, int32_t image, const Codes& codes) {
  scores.add(image, codes.value_view(), codes.index_view());
}

/// A latent that scores `value(image)` where that is positive.
template <class Value>
LatentActivity activity_of(int32_t images, const Value& value) {
  LatentActivity activity;
  for (int32_t i = 0; i < images; ++i) {
    if (const float score = value(i); score > 0) activity.images.push_back({i, score, score, 0});
  }
  return activity;
}

/// One image of each of the 1,000 classes, in their order.
ImageSynsets one_of_each() {
  std::vector<std::string> ids;
  for (const loader::ImagenetClass& c : loader::imagenet_classes()) ids.emplace_back(c.wordnet_id);
  return {WordNet::built_in(), ids};
}

}  // namespace

TEST_CASE("image scores: maximum, mean, position, density and histogram of a hand-made case") {
  ImageScores scores(3, 2);
  Codes first(2, 2), second(2, 2);
  first.set(0, 0, 0, 1.0F);
  first.set(0, 1, 2, 0.5F);
  first.set(1, 0, 0, 3.0F);
  second.set(1, 0, 2, 0.5F);
  add(scores, 4, first);
  add(scores, 9, second);

  CHECK(scores.tokens() == 4);
  const LatentActivity& zero = scores.activity(0);
  REQUIRE(zero.images.size() == 1);
  CHECK(zero.images[0].image == 4);
  CHECK(zero.images[0].max == 3.0F);
  CHECK(zero.images[0].mean == 2.0F);
  CHECK(zero.images[0].position == 1);
  CHECK(zero.tokens_fired == 2);
  CHECK(zero.sum == 4);
  CHECK(zero.histogram.counts[static_cast<size_t>(ValueHistogram::bin(1.0F))] == 1);
  CHECK(scores.activity(1).images.empty());
  REQUIRE(scores.activity(2).images.size() == 2);
  CHECK(scores.activity(2).images[1].mean == 0.25F);
  CHECK(scores.activity(2).histogram.counts[static_cast<size_t>(ValueHistogram::bin(0.5F))] == 2);
}

TEST_CASE("image scores: bins of half an octave, ends included") {
  CHECK(ValueHistogram::lower_edge(ValueHistogram::bin(1.0F)) == 1.0);
  CHECK(ValueHistogram::bin(1.4F) == ValueHistogram::bin(1.0F));
  CHECK(ValueHistogram::bin(1.42F) == ValueHistogram::bin(1.0F) + 1);
  CHECK(ValueHistogram::bin(1e-30F) == 0);
  CHECK(ValueHistogram::bin(1e30F) == ValueHistogram::kBins - 1);
}

TEST_CASE("image scores: the best first, ties by image") {
  const LatentActivity activity = activity_of(6, [](int32_t i) {
    return i == 3 ? 2.0F : i % 2 == 0 ? 1.0F : 0.0F;
  });
  const std::vector<ImageScore> top = activity.top(3);
  REQUIRE(top.size() == 3);
  CHECK(top[0].image == 3);
  CHECK(top[1].image == 0);
  CHECK(top[2].image == 2);
  CHECK(activity.top(100).size() == 4);
}

TEST_CASE("image scores: what cannot be is refused") {
  ImageScores scores(3, 2);
  Codes codes(2, 1);
  codes.set(0, 0, 3, 1.0F);
  CHECK_THROWS_AS(add(scores, 0, codes), InputError);
  CHECK_THROWS_AS(add(scores, 1, Codes(3, 1)), ShapeError);
  ImageScores ordered(3, 2);
  add(ordered, 5, Codes(2, 1));
  CHECK_THROWS_AS(add(ordered, 5, Codes(2, 1)), InputError);
  CHECK_THROWS_AS(ImageScores(0, 2), InputError);
}

TEST_CASE("labels: counts under a synset, unknown ids, and lists that are another network's") {
  const ImageSynsets labels(WordNet::built_in(), {"n02099601", "n03482405", "", "n99999999"});
  CHECK(labels.labelled() == 2);
  CHECK(labels.below(kDog) == std::vector<uint8_t>{1, 0, 0, 0});
  CHECK(labels.count(WordNet::built_in().find("n00001740")) == 2);
  CHECK_THROWS_WITH_AS(ImageSynsets(WordNet::built_in(), {"n99999999", "17"}),
                       doctest::Contains("none of the 2 labelled images"), InputError);
  CHECK(ImageSynsets(WordNet::built_in(), {"", ""}).labelled() == 0);
}

TEST_CASE("enrichment: a latent of dogs is called dog, one of anything has no name") {
  const ImageSynsets labels = one_of_each();
  const Enrichment enrichment(labels, {});
  CHECK(enrichment.tested() == 179);

  // 20 hounds, 20 working dogs and 10 others at the top: no kind of dog has half of them.
  const auto dogs = activity_of(1000, [](int32_t i) {
    const bool top = (i >= 160 && i < 180) || (i >= 225 && i < 245) || (i >= 258 && i < 268);
    return top ? 2.0F : i >= 151 && i <= 268 ? 1.0F : i % 50 == 0 ? 0.1F : 0.0F;
  });
  const auto label = enrichment.label(dogs);
  REQUIRE(label);
  CHECK(label->wordnet_id == kDog);
  CHECK(label->hits == 50);
  CHECK(label->images == 118);
  CHECK(label->information == doctest::Approx(-std::log(0.118)));
  CHECK(label->p / hypergeometric_tail(50, 50, 118, 1000).p == doctest::Approx(1));
  CHECK(label->q >= label->p);

  const auto every_twentieth = activity_of(1000, [](int32_t i) { return i % 20 == 0 ? 1.0F : 0.0F; });
  CHECK_FALSE(enrichment.label(every_twentieth));
  CHECK_FALSE(enrichment.label(LatentActivity{}));
}

TEST_CASE("enrichment: the most informative of several that fit") {
  const ImageSynsets labels = one_of_each();
  // Terriers are dogs are animals; all three are enriched.
  const std::vector<uint8_t> terriers = labels.below("n02092468");
  const auto label = Enrichment(labels, {}).label(activity_of(1000, [&](int32_t i) {
    return terriers[static_cast<size_t>(i)] != 0 ? 1.0F : 0.0F;
  }));
  REQUIRE(label);
  CHECK(label->name == "terrier");
}

TEST_CASE("selectivity: a perfect animal latent, a silent one, and the silent images as ties") {
  const ImageSynsets labels = one_of_each();
  const Concept animal = concept_below(labels, kAnimal, "animal");
  CHECK(animal.known_count == 1000);
  CHECK(animal.shown_count == 398);

  const Selectivity perfect = selectivity(
      activity_of(1000, [](int32_t i) { return i < 398 ? 1.0F + static_cast<float>(i) : 0.0F; }), animal);
  CHECK(perfect.ranks.auroc == 1);
  CHECK(perfect.lift == doctest::Approx(1000.0 / 398));
  CHECK(perfect.top_share == 1);
  CHECK(perfect.ranks.p < 1e-100);

  // Fires on half the animals only, alike: P(win) = 1/2 + P(tie) / 2 with P(tie) = 1/2.
  const Selectivity half =
      selectivity(activity_of(1000, [](int32_t i) { return i < 398 && i % 2 == 0 ? 1.0F : 0.0F; }), animal);
  CHECK(half.ranks.auroc == doctest::Approx(0.75));

  const Selectivity silent = selectivity(LatentActivity{}, animal);
  CHECK(silent.ranks.auroc == 0.5);
  CHECK(std::isnan(silent.lift));
  CHECK(std::isnan(silent.top_share));
}

TEST_CASE("selectivity: images without a label do not count") {
  const ImageSynsets labels(WordNet::built_in(), {"n02099601", "n03482405", ""});
  const Concept dog = concept_below(labels, kDog, "dog");
  CHECK(dog.known_count == 2);
  const Selectivity result =
      selectivity(activity_of(3, [](int32_t i) { return i == 2   ? 9.0F
                                                        : i == 0 ? 1.0F
                                                                 : 0.0F; }), dog);
  CHECK(result.ranks.auroc == 1);
  CHECK(result.ranks.labelled + result.ranks.others == 2);
  CHECK(result.top_share == 1);
}

TEST_CASE("selectivity: silent latents do not weigh in the correction") {
  ImageScores scores(3, 1);
  Codes codes(1, 2);
  codes.set(0, 0, 0, 1.0F);
  codes.set(0, 1, 1, 1.0F);
  add(scores, 0, codes);
  std::vector<Selectivity> of_latents(3);
  of_latents[0].ranks.p = 0.01;
  of_latents[1].ranks.p = 0.2;
  of_latents[2].ranks.p = 0.0;  // silent: whatever it holds
  adjust(of_latents, scores);
  CHECK(of_latents[0].q == doctest::Approx(0.02));
  CHECK(of_latents[1].q == doctest::Approx(0.2));
  CHECK(of_latents[2].q == 1);
}

TEST_CASE("selectivity: with shuffled labels p is uniform") {
  const ImageSynsets labels = one_of_each();
  Concept animal = concept_below(labels, kAnimal, "animal");
  std::vector<double> p;
  for (uint64_t run = 0; run < 200; ++run) {
    Random random(5, run);
    const auto noise =
        activity_of(1000, [&](int32_t) { return std::max(0.0F, static_cast<float>(random.normal())); });
    const std::vector<int32_t> order = random_permutation(1000, 6, run);
    Concept shuffled = animal;
    for (size_t i = 0; i < 1000; ++i) shuffled.shown[i] = animal.shown[static_cast<size_t>(order[i])];
    p.push_back(selectivity(noise, shuffled).ranks.p);
  }
  CHECK(test::distance_from_uniform(p) < 1.63);  // exceeded in 1 % of uniform samples
}

TEST_CASE("label entropy: one class is 0 bits, two alike are 1") {
  const ImageSynsets labels(WordNet::built_in(), {"n02099601", "n03482405", "n02099601", ""});
  CHECK(label_entropy(activity_of(4, [](int32_t i) { return i == 0 || i == 2 ? 1.0F : 0.0F; }), labels) ==
        0.0);
  CHECK(*label_entropy(activity_of(2, [](int32_t) { return 2.0F; }), labels) == doctest::Approx(1));
  CHECK_FALSE(label_entropy(activity_of(4, [](int32_t i) { return i == 3 ? 1.0F : 0.0F; }), labels));
}
