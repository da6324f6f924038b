#include "analysis/features/code_pass.h"

#include <doctest/doctest.h>

#include <map>

#include "analysis/features/responses.h"
#include "analysis/features/scan.h"
#include "analysis/features/token_encoder.h"
#include "engine/error.h"
#include "engine/random.h"
#include "loader/onnx_loader.h"
#include "tests/analysis/small_network.h"

using namespace branchsae;
using test::ArrayImages;

namespace {

constexpr const char *kBranch = "mixed4c.5x5", *kLayer = "mixed4d";

/// Random directions, so that selections are no matter of course.
SaeFile random_sae(const std::string& tap, int64_t d, int64_t n, int64_t k, uint64_t seed) {
  SaeFile sae = test::neurons(tap, d, 1);
  sae.spec = {.d = d, .n = n, .k = k};
  sae.parameters.w = HostTensor({n, d});
  sae.parameters.b_enc = HostTensor({n});
  Random random(seed, 0);
  for (float& w : sae.parameters.w.values()) w = static_cast<float>(random.normal());
  return sae;
}

struct Scene {
  Scene()
      : graph(load_onnx("tests/golden/torchvision.bn.onnx")),
        images(reference::read_array("tests/golden/torchvision/input.npy"), {3, 7}) {
    saes.push_back(random_sae(kBranch, width(kBranch), 64, 9, 1));
    saes.push_back(random_sae(kLayer, width(kLayer), 100, 5, 2));
    saes.push_back(random_sae(kBranch, width(kBranch), 32, 4, 3));
  }
  int64_t width(const char* tap) const { return resolve_tap(graph, tap).width(); }
  EvaluateOptions options(std::vector<int64_t> ks = {}) const {
    return {.images = {0, 1}, .ks = std::move(ks), .forward_batch = 2};
  }

  Graph graph;
  ArrayImages images;
  std::vector<SaeFile> saes;
};

using Codes = std::vector<std::pair<int32_t, float>>;

Codes codes_of(const CodeBatch& batch) {
  Codes codes;
  for (int64_t t = 0; t < batch.indices.shape[0]; ++t) {
    for (int64_t i = 0; i < batch.k; ++i) codes.emplace_back(batch.indices(t, i), batch.values(t, i));
  }
  return codes;
}

/// By autoencoder and k.
std::map<std::pair<size_t, int64_t>, Codes> all_codes(const Scene& scene, std::vector<int64_t> ks) {
  CodePass pass(Device::cpu(2), scene.graph, scene.images, scene.saes, scene.options(std::move(ks)));
  std::map<std::pair<size_t, int64_t>, Codes> codes;
  const CodePassResult result = pass.run([&](const CodeBatch& batch) {
    CHECK(batch.images.size() == 2);
    CHECK(batch.tokens_per_image == pass.tokens_per_image(batch.sae));
    CHECK(batch.tokens.shape[0] == 2 * batch.tokens_per_image);
    CHECK(batch.tokens.shape[1] == scene.saes[batch.sae].spec.d);
    codes[{batch.sae, batch.k}] = codes_of(batch);
  });
  CHECK(result.images == 2);
  CHECK_FALSE(result.stopped);
  return codes;
}

}  // namespace

TEST_CASE("code pass: one pass for autoencoders of several taps gives each what it gets alone") {
  const Scene scene;
  const auto together = all_codes(scene, {});
  REQUIRE(together.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    Scene alone;
    alone.saes.clear();
    Scene source;
    alone.saes.push_back(std::move(source.saes[i]));
    const auto codes = all_codes(alone, {});
    CHECK(codes.begin()->second == together.at({i, scene.saes[i].spec.k}));
  }
}

TEST_CASE("code pass: several numbers kept are what each gives by itself") {
  const Scene scene;
  const auto together = all_codes(scene, {4, 17, 2});
  REQUIRE(together.size() == 9);
  for (int64_t k : {2, 4, 17}) {
    for (const auto& [key, codes] : all_codes(scene, {k})) CHECK(codes == together.at(key));
  }
}

TEST_CASE("code pass: chosen positions have the codes that they have among all, at every k") {
  const Scene scene;
  const std::vector<int64_t> ks = {4, 2}, few = {0, 3, 7};
  const auto all = all_codes(scene, ks);
  CodePass pass(Device::cpu(2), scene.graph, scene.images, scene.saes, scene.options(ks));
  pass.encode_only(1, few);
  pass.encode_only(2, {5});
  pass.run([&](const CodeBatch& batch) {
    CAPTURE(batch.sae);
    const std::vector<int64_t> none, chosen = batch.sae == 1   ? few
                                              : batch.sae == 2 ? std::vector<int64_t>{5}
                                                               : none;
    CHECK(batch.tokens.shape[0] == 2 * batch.tokens_per_image);
    CHECK(batch.codes_per_image == (chosen.empty() ? batch.tokens_per_image : std::ssize(chosen)));
    REQUIRE(batch.values.shape[0] == 2 * batch.codes_per_image);
    const Codes& expected = all.at({batch.sae, batch.k});
    for (size_t image = 0; image < 2; ++image) {
      for (int64_t code = 0; code < batch.codes_per_image; ++code) {
        const int64_t position = chosen.empty() ? code : chosen[static_cast<size_t>(code)];
        const int64_t token = static_cast<int64_t>(image) * batch.tokens_per_image + position;
        for (int64_t i = 0; i < batch.k; ++i) {
          const auto& [index, value] = expected[static_cast<size_t>(token * batch.k + i)];
          CHECK(batch.indices(batch.first(image) + code, i) == index);
          CHECK(batch.values(batch.first(image) + code, i) == value);
        }
      }
    }
  });
  for (const std::vector<int64_t>& wrong : {std::vector<int64_t>{}, {-1}, {1, 1}, {2, 1}, {100000}})
    CHECK_THROWS_AS(pass.encode_only(0, wrong), InputError);
}

TEST_CASE("code pass: stops when asked, and refuses what cannot be") {
  const Scene scene;
  EvaluateOptions options = scene.options();
  options.forward_batch = 1;
  CodePass pass(Device::cpu(2), scene.graph, scene.images, scene.saes, options);
  EvaluateCallbacks callbacks;
  callbacks.stop_requested = [] { return true; };
  const CodePassResult result = pass.run([](const CodeBatch&) {}, callbacks);
  CHECK(result.stopped);
  CHECK(result.images == 1);
  const auto open = [&](std::vector<int64_t> ks) {
    CodePass(Device::cpu(2), scene.graph, scene.images, scene.saes, scene.options(std::move(ks)));
  };
  CHECK_THROWS_AS(open({33}), InputError);
  CHECK_THROWS_AS(open({0}), InputError);
  CHECK_THROWS_AS(open({3, 3}), InputError);
  std::vector<SaeFile> other;
  other.push_back(random_sae(kLayer, 8, 16, 2, 1));
  CHECK_THROWS_AS(CodePass(Device::cpu(2), scene.graph, scene.images, other, scene.options()), InputError);
}

TEST_CASE("keep largest: ties go to the lower index, unused slots to the end") {
  const std::vector<float> values = {1, 3, 3, 2, 0.5F, 0, 0, 0};
  const std::vector<int32_t> indices = {2, 5, 7, 9, 4, -1, -1, -1};
  std::vector<float> kept_values(6);
  std::vector<int32_t> kept_indices(6);
  keep_largest({values.data(), {2, 4}}, {indices.data(), {2, 4}}, {kept_values.data(), {2, 3}},
               {kept_indices.data(), {2, 3}});
  CHECK(kept_indices == std::vector<int32_t>{5, 7, 9, 4, -1, -1});
  CHECK(kept_values == std::vector<float>{3, 3, 2, 0.5F, 0, 0});
  keep_largest({values.data(), {2, 4}}, {indices.data(), {2, 4}}, {kept_values.data(), {2, 1}},
               {kept_indices.data(), {2, 1}});
  CHECK(kept_indices[0] == 5);
  CHECK_THROWS_AS(keep_largest({values.data(), {2, 4}}, {indices.data(), {2, 4}},
                               {kept_values.data(), {1, 4}}, {kept_indices.data(), {1, 4}}),
                  ShapeError);
}

TEST_CASE("scan of a variant: the same images again give the same responses") {
  const Scene scene;
  const EvaluateOptions options = scene.options({3, 6});
  const Device device = Device::cpu(2);
  const FeatureScans scans = scan_features(device, scene.graph, scene.images, scene.saes, options);
  REQUIRE(scans.scans.size() == 6);
  const VariantScan again = scan_variant(device, scene.graph, scene.images, scene.saes, scans, options);
  REQUIRE(again.scores.size() == 6);
  int64_t live = 0;
  for (size_t i = 0; i < 6; ++i) {
    CHECK(scans.scans[i].sae == i / 2);
    for (int64_t latent = 0; latent < again.scores[i].latents(); ++latent) {
      const auto index =
          colour_index(scans.scans[i].scores.activity(latent), again.scores[i].activity(latent));
      live += index ? 1 : 0;
      CHECK(index.value_or(0) == 0);
    }
  }
  CHECK(live > 0);
}

TEST_CASE("scan: codes are kept when all of them are sure to fit") {
  const Scene scene;
  const Device device = Device::cpu(2);
  int64_t most = 0;
  for (size_t i = 0; i < 3; ++i) {
    const CodePass pass(device, scene.graph, scene.images, scene.saes, scene.options());
    most += CodeStore::bytes(2 * pass.tokens_per_image(i), scene.saes[i].spec.k);
  }
  const auto scan = [&](int64_t bytes) {
    return scan_features(device, scene.graph, scene.images, scene.saes, scene.options(), {}, bytes);
  };
  for (const FeatureScan& one : scan(most - 1).scans) CHECK_FALSE(one.codes);
  const FeatureScans scans = scan(most);
  CHECK(scans.read == std::vector<int64_t>{0, 1});
  const auto codes = all_codes(scene, {});
  for (size_t i = 0; i < 3; ++i) {
    REQUIRE(scans.scans[i].codes);
    const CodeStore& kept = *scans.scans[i].codes;
    Codes fired, stored;
    for (const auto& [latent, value] : codes.at({i, scene.saes[i].spec.k})) {
      if (latent >= 0) fired.emplace_back(latent, value);
    }
    for (int64_t image = 0; image < 2; ++image) {
      for (const CodeEntry& entry : kept.image(image)) stored.emplace_back(entry.latent, entry.value);
    }
    CHECK(stored == fired);
  }
}

TEST_CASE("image scores: several images at once give the bytes of one after another, on any threads") {
  constexpr int64_t kLatents = 37, kPositions = 5, kKept = 6;
  const std::vector<int64_t> images = {2, 3, 9};
  std::vector<float> values;
  std::vector<int32_t> indices;
  Random random(5, 0);
  for (int64_t token = 0; token < 3 * kPositions; ++token) {
    std::vector<int32_t> fired = random_permutation(kLatents, 6, static_cast<uint64_t>(token));
    fired.resize(kKept);
    std::ranges::sort(fired);
    if (token % 4 == 0) fired.back() = -1;
    indices.insert(indices.end(), fired.begin(), fired.end());
    for (int64_t slot = 0; slot < kKept; ++slot) values.push_back(static_cast<float>(random.normal()));
  }
  const View<const float, 2> all_values(values.data(), {3 * kPositions, kKept});
  const View<const int32_t, 2> all_indices(indices.data(), {3 * kPositions, kKept});
  ImageScores one(kLatents, kPositions);
  for (int64_t i = 0; i < 3; ++i)
    one.add(static_cast<int32_t>(images[static_cast<size_t>(i)]), all_values.rows(i * kPositions, kPositions),
            all_indices.rows(i * kPositions, kPositions));
  for (const int threads : {1, 2, 3, 50}) {
    ImageScores scores(kLatents, kPositions);
    scores.add(images, all_values, all_indices, threads);
    CHECK(scores.images() == 3);
    for (int64_t latent = 0; latent < kLatents; ++latent) {
      const LatentActivity &a = scores.activity(latent), &b = one.activity(latent);
      CHECK(a.tokens_fired == b.tokens_fired);
      CHECK(a.sum == b.sum);
      CHECK(a.histogram.counts == b.histogram.counts);
      REQUIRE(a.images.size() == b.images.size());
      for (size_t i = 0; i < a.images.size(); ++i) {
        CHECK(a.images[i].image == b.images[i].image);
        CHECK(a.images[i].max == b.images[i].max);
        CHECK(a.images[i].mean == b.images[i].mean);
        CHECK(a.images[i].position == b.images[i].position);
      }
    }
    CHECK_THROWS_AS(scores.add(images, all_values, all_indices, threads), InputError);
    indices[4] = kLatents;
    CHECK_THROWS_AS(ImageScores(kLatents, kPositions).add(images, all_values, all_indices, threads),
                    InputError);
    indices[4] = 0;
  }
}

TEST_CASE("image scores: only listed images are kept, all are counted") {
  ImageScores scores(1, {{4}, {}});
  const std::vector<float> values = {1, 2};
  const std::vector<int32_t> indices = {0, 1};
  for (int32_t image : {3, 4}) scores.add(image, {values.data(), {1, 2}}, {indices.data(), {1, 2}});
  REQUIRE(scores.activity(0).images.size() == 1);
  CHECK(scores.activity(0).images[0].image == 4);
  CHECK(scores.activity(1).images.empty());
  CHECK(scores.activity(1).tokens_fired == 2);
}
