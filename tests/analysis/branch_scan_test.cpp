#include "analysis/branches/branch_scan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "analysis/features/kept_tokens.h"
#include "engine/error.h"
#include "engine/random.h"
#include "loader/onnx_loader.h"
#include "tests/analysis/small_network.h"

using namespace branchsae;
using test::ArrayImages;

namespace {

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
    const auto width = [&](const char* tap) { return resolve_tap(graph, tap).width(); };
    saes.push_back(random_sae("mixed4d", width("mixed4d"), 100, 5, 1));
    saes.push_back(random_sae("mixed4c.5x5", width("mixed4c.5x5"), 64, 9, 2));  // one branch: no shares
    saes.push_back(random_sae("mixed4b", width("mixed4b"), 80, 7, 3));
    saes.push_back(copy_with_k(saes[0], 11));
  }
  BranchScans scan(int64_t kept_bytes, const EvaluateCallbacks& callbacks = {}) const {
    BranchScanOptions options{.evaluate = {.images = {0, 1}, .forward_batch = 1},
                              .colour = false,
                              .orientation = true,
                              .random_rows = 16,
                              .kept_bytes = kept_bytes};
    return scan_branches(Device::cpu(2), graph, images, saes, options, [&] { return callbacks; });
  }

  Graph graph;
  ArrayImages images;
  std::vector<SaeFile> saes;
};

/// Equal, NaN included.
bool same_values(const LatentBranchValues& a, const LatentBranchValues& b) {
  return a.values.size() == b.values.size() &&
         std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(double)) == 0;
}

}  // namespace

TEST_CASE("branch scan: causal shares of tokens in memory are those of another pass, bit for bit") {
  const Scene scene;
  const BranchScans kept = scene.scan(int64_t{1} << 30), again = scene.scan(0);
  REQUIRE(kept.scans.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    REQUIRE(kept.scans[i].causal.has_value() == (i != 1));
    if (i == 1) continue;
    CHECK(same_values(*kept.scans[i].causal, *again.scans[i].causal));
    CHECK(same_values(*kept.scans[i].evidence, *again.scans[i].evidence));
    CHECK(std::ranges::any_of(kept.scans[i].causal->values, [](double v) { return v > 0 && v < 1; }));
  }
}

TEST_CASE("branch scan: it counts every image in every pass, and stops where it is told") {
  const Scene scene;
  std::vector<int64_t> seen;
  EvaluateCallbacks callbacks;
  callbacks.progress = [&](int64_t done, int64_t total) {
    CHECK(total == 2);
    seen.push_back(done);
  };
  for (const int64_t bytes : {int64_t{0}, int64_t{1} << 30}) {
    seen.clear();
    CHECK_FALSE(scene.scan(bytes, callbacks).stopped);
    CHECK(seen == std::vector<int64_t>{1, 2, 1, 2, 1, 2});
    callbacks.stop_requested = [&] { return seen.size() == 5; };  // in the causal pass
    seen.clear();
    CHECK(scene.scan(bytes, callbacks).stopped);
    callbacks.stop_requested = {};
  }
}

TEST_CASE(
    "branch scan: scores take no more memory than was planned for, and a wide autoencoder few a token") {
  const Scene scene;
  const BranchScans scans = scene.scan(0);
  const auto taken = [](const SubjectScores& scores) {
    int64_t count = 0;
    for (int64_t i = 0; i < scores.original.latents(); ++i)
      count += std::ssize(scores.original.activity(i).images);
    return count * static_cast<int64_t>(sizeof(ImageScore));
  };
  for (size_t i = 0; i < scene.saes.size(); ++i) {
    CAPTURE(i);
    const BranchScan& scan = scans.scans[i];
    const int64_t most = most_score_bytes(scene.graph, scene.images, scene.saes[i], 16);
    const int64_t all = taken(scan.latents) + (scan.random ? taken(*scan.random) + taken(*scan.neurons) : 0);
    CHECK(all > 0);
    CHECK(all <= most);
  }
  constexpr int64_t kScore = sizeof(ImageScore), kWide = 5000;
  const int64_t images = scene.images.size(), d = scene.saes[0].spec.d,
                positions = scans.scans[0].latents.original.positions();
  REQUIRE(positions * 5 > 16);
  REQUIRE(positions * 5 < kWide);
  // Of 5,000 latents only 5 a token are kept; the dictionary keeps one a token of 16; all channels count.
  CHECK(most_score_bytes(scene.graph, scene.images, random_sae("mixed4d", d, kWide, 5, 4), 16) ==
        images * (positions * 5 + std::min<int64_t>(16, positions) + d) * kScore);
  const SaeFile single = random_sae("mixed4c.5x5", scene.saes[1].spec.d, kWide, 5, 5);
  CHECK(most_score_bytes(scene.graph, scene.images, single, 16) == images * positions * 5 * kScore);
}

TEST_CASE("kept tokens: every bit comes back, zeros take no memory") {
  constexpr int64_t kTokens = 5, kWidth = 70;
  std::vector<float> rows(kTokens * kWidth);
  KeptTokens kept(kWidth);
  kept.add({rows.data(), {kTokens, kWidth}});
  const int64_t of_zeros = kept.memory_bytes();
  for (size_t i = 0; i < rows.size(); i += 3) rows[i] = static_cast<float>(i) - 50;
  rows[1] = -0.0F;
  rows[69] = std::nanf("");
  kept.add({rows.data(), {kTokens, kWidth}});
  CHECK(of_zeros < kTokens * kWidth);
  CHECK(kept.memory_bytes() < of_zeros + kTokens * kWidth * 3);
  REQUIRE(kept.batches() == 2);
  std::vector<float> memory;
  const View<const float, 2> read = kept.read(1, memory);
  CHECK(read.shape == std::array{kTokens, kWidth});
  CHECK(std::memcmp(read.data, rows.data(), rows.size() * sizeof(float)) == 0);
  kept.read(0, memory);
  CHECK(std::ranges::all_of(memory, [](float value) { return value == 0; }));
  CHECK_THROWS_AS(kept.add({rows.data(), {kWidth, kTokens}}), ShapeError);
}
