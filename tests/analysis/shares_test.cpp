#include <doctest/doctest.h>

#include <cmath>

#include "analysis/branches/shares.h"
#include "analysis/branches/tap_branches.h"
#include "engine/error.h"
#include "engine/random.h"
#include "model/inception.h"
#include "tests/reference/inception_graph.h"

using namespace branchsae;

namespace {

const std::vector<ChannelGroup> kGroups{{"1x1", 0, 4}, {"3x3", 4, 8}, {"5x5", 12, 2}, {"pool", 14, 2}};

std::vector<float> random_rows(int64_t rows, int64_t columns) {
  Random random(3, 0);
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

}  // namespace

TEST_CASE("shares: what must sum to one does, and scaling the decoder changes nothing") {
  std::vector<float> decoder = random_rows(50, 16);
  const auto latents = latent_shares({decoder.data(), {50, 16}}, kGroups);
  for (float& value : decoder) value *= 4;
  const auto scaled = latent_shares({decoder.data(), {50, 16}}, kGroups);
  for (size_t i = 0; i < latents.size(); ++i) {
    double positive = 0, energy = 0, absolute = 0;
    for (size_t b = 0; b < kGroups.size(); ++b) {
      const BranchShare& share = latents[i].branches[b];
      positive += share.positive * share.positive;
      energy += share.energy;
      absolute += share.absolute;
      CHECK(share.energy == scaled[i].branches[b].energy);
      CHECK(share.positive == scaled[i].branches[b].positive);
    }
    CHECK(positive == doctest::Approx(1).epsilon(1e-12));
    CHECK(energy == doctest::Approx(1).epsilon(1e-12));
    CHECK(absolute == doctest::Approx(1).epsilon(1e-12));
    CHECK(latents[i].specialisation >= 0);  // a divergence from the channels' shares
    CHECK(latents[i].entropy <= 1);
  }
}

TEST_CASE("shares: a latent of one branch, of one neuron, spread evenly, and none") {
  std::vector<float> decoder(4 * 16);
  decoder[12] = 3;
  decoder[13] = -4;
  decoder[16 + 5] = -2;
  for (size_t c = 0; c < 16; ++c) decoder[32 + c] = 1;
  const auto latents = latent_shares({decoder.data(), {4, 16}}, kGroups);

  CHECK(latents[0].branches[2].energy == 1);
  CHECK(latents[0].branches[2].positive == 1);
  CHECK(latents[0].dominant == 2);
  CHECK(latents[0].specialisation == doctest::Approx(3));  // log2(16 / 2)
  CHECK(latents[0].entropy == 0);
  CHECK(latents[0].neuron_cosine == doctest::Approx(0.8));
  CHECK(latents[0].neuron == 13);

  CHECK(latents[1].dominant == 1);
  CHECK(latents[1].neuron_cosine == 1);
  CHECK(std::isnan(latents[1].branches[1].positive));  // no positive entry at all

  CHECK(latents[2].specialisation == doctest::Approx(0).epsilon(1e-12));
  CHECK(latents[2].branches[1].enrichment == doctest::Approx(0));
  CHECK(latents[2].dominant == 1);

  CHECK(latents[3].dominant == -1);
  CHECK(std::isnan(latents[3].branches[0].energy));
  CHECK(neuron_share(latents) == 0.25);
}

TEST_CASE("shares: nulls of a random direction, as the design's figures for 64 of 512 channels") {
  const std::vector<ChannelGroup> groups{
      {"1x1", 0, 128}, {"3x3", 128, 256}, {"5x5", 384, 64}, {"pool", 448, 64}};
  std::vector<double> energy(512, 1.0);
  for (size_t c = 384; c < 448; ++c) energy[c] = 3;
  const std::vector<ShareNulls> nulls = share_nulls(groups, 512, energy, 8192, 1);
  CHECK(nulls[2].channels == 0.125);
  CHECK(nulls[2].activation_energy == doctest::Approx(192.0 / 640));
  // sqrt(64 / 512) = 0.354 for a random direction; its 99th percentile 0.46.
  CHECK(nulls[2].random_positive == doctest::Approx(0.354).epsilon(0.02));
  CHECK(nulls[2].random_positive_99 == doctest::Approx(0.46).epsilon(0.02));
  CHECK(nulls[2].random_energy == doctest::Approx(0.125).epsilon(0.02));
  CHECK(std::isnan(share_nulls(groups, 512, {}, 10, 1)[0].activation_energy));
}

TEST_CASE("shares: branches that leave a gap or do not cover the row are refused") {
  const std::vector<float> row(16);
  const View<const float, 2> decoder(row.data(), {1, 16});
  CHECK_THROWS_WITH_AS(latent_shares(decoder, std::vector<ChannelGroup>{{"a", 0, 4}, {"b", 5, 11}}),
                       doctest::Contains("channel 4 should come next"), InputError);
  CHECK_THROWS_WITH_AS(latent_shares(decoder, std::vector<ChannelGroup>{{"a", 0, 15}}),
                       doctest::Contains("15 channels of 16"), InputError);
}

TEST_CASE("tap branches: a layer, a branch, a range, a tensor of no block") {
  Graph graph = test::inception_graph(8, 10, 1).graph;
  recognise_blocks(graph);
  const Block& block = graph.blocks[2];
  const auto layer = tap_branches(graph, resolve_tap(graph, block.name));
  REQUIRE(layer.size() == 4);
  for (size_t b = 0; b < 4; ++b) {
    CHECK(layer[b].layer == block.name);
    CHECK(layer[b].group.name == block.branches[b].name);
    CHECK(layer[b].group.begin == block.branches[b].begin);
    CHECK(layer[b].group.count == block.branches[b].end - block.branches[b].begin);
  }
  const auto one = tap_branches(graph, resolve_tap(graph, block.name + ".5x5"));
  REQUIRE(one.size() == 1);
  CHECK(one[0].group.name == "5x5");
  CHECK(one[0].group.begin == 0);
  CHECK(one[0].layer == block.name);
  const auto before = tap_branches(graph, resolve_tap(graph, block.name + ":pre"));
  REQUIRE(before.size() == 4);
  CHECK(before[2].group.name == "5x5");
  CHECK(before[2].group.begin == layer[2].group.begin);

  const Tap range = resolve_tap(graph, graph.blocks[2].name + ".." + graph.blocks[4].name);
  const auto joined = tap_branches(graph, range);
  REQUIRE(joined.size() == 12);
  CHECK(joined[6].group.name == graph.blocks[3].name + ".5x5");
  CHECK_NOTHROW(check_groups(channel_groups(joined), range.width()));
  CHECK(tap_layers(joined).size() == 3);

  const std::string tensor = graph.value(graph.nodes.front().output).name;
  const auto other = tap_branches(graph, resolve_tap(graph, tensor));
  REQUIRE(other.size() == 1);
  CHECK(other[0].group.name == tensor);
}
