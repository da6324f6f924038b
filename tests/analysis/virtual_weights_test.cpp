// The network between two taps with its non-linearities opened, and latents paired by it.
#include "analysis/matching/virtual_weights.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "analysis/matching/match.h"
#include "analysis/matching/match_report.h"
#include "analysis/matching/opened_map.h"
#include "engine/error.h"
#include "engine/random.h"
#include "loader/onnx_loader.h"
#include "model/inception.h"
#include "tests/reference/golden.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/inception_graph.h"

using namespace branchsae;
using reference::Array;
using reference::GraphBuilder;
using reference::window;

namespace {

/// The graph with every gate open: no ReLU or clip does anything, and a maximum is the mean of its window.
Graph opened(Graph graph) {
  for (Node& node : graph.nodes) {
    if (auto* conv = std::get_if<ConvOp>(&node.op)) {
      conv->relu = false;
    } else if (const auto* max = std::get_if<MaxPoolOp>(&node.op)) {
      node.op = AveragePoolOp{max->window, max->ceil_mode, true};
    } else if (std::holds_alternative<ReluOp>(node.op) || std::holds_alternative<ClipOp>(node.op)) {
      node.op = ConcatOp{};  // of one: the value as it is
    }
  }
  return graph;
}

/// What `to` answers, summed over positions, to 1 at the middle of one channel of the network's input: by
/// running it, in double precision.
std::vector<std::vector<double>> impulse_responses(const Graph& graph, ValueId to, int64_t size) {
  const Graph open = opened(graph);
  const int64_t channels = graph.value(graph.input).shape.at(1);
  const auto sums = [&](const Array& images) {
    const Array value = reference::run_network(open, images)[static_cast<size_t>(to)];
    std::vector<double> result(static_cast<size_t>(value.dim(1)));
    for (int64_t c = 0; c < value.dim(1); ++c) {
      for (int64_t y = 0; y < value.dim(2); ++y) {
        for (int64_t x = 0; x < value.dim(3); ++x) result[static_cast<size_t>(c)] += value.at(0, c, y, x);
      }
    }
    return result;
  };
  Array image({1, channels, size, size});
  const std::vector<double> rest = sums(image);
  std::vector<std::vector<double>> responses;
  for (int64_t c = 0; c < channels; ++c) {
    image.at(0, c, size / 2, size / 2) = 1;
    responses.push_back(sums(image));
    for (size_t i = 0; i < rest.size(); ++i) responses.back()[i] -= rest[i];
    image.at(0, c, size / 2, size / 2) = 0;
  }
  return responses;
}

Tap whole(const Graph& graph, ValueId value) {
  return {"value " + std::to_string(value), {{value, 0, graph.value(value).shape.at(1)}}};
}

/// |a - b| / |b| of a map and of responses [from][to].
double error_of(const HostTensor& map, const std::vector<std::vector<double>>& responses) {
  double difference = 0, size = 0;
  for (int64_t to = 0; to < map.dim(0); ++to) {
    for (int64_t from = 0; from < map.dim(1); ++from) {
      const double expected = responses[static_cast<size_t>(from)][static_cast<size_t>(to)];
      difference += std::pow(static_cast<double>(map[to * map.dim(1) + from]) - expected, 2);
      size += expected * expected;
    }
  }
  return std::sqrt(difference / size);
}

/// An inception block over the input, of uneven widths; its branches and its concat.
struct SmallBlock {
  explicit SmallBlock(GraphBuilder& build, ValueId from) {
    const auto conv = [&](ValueId src, int64_t outputs, int64_t kernel) {
      return build.add(ReluOp{}, build.conv(src, outputs, window(kernel, 1, kernel / 2)));
    };
    branches = {conv(from, 5, 1), conv(conv(from, 4, 1), 7, 3), conv(conv(from, 3, 1), 6, 5),
                conv(build.add(MaxPoolOp{window(3, 1, 1)}, from), 2, 1)};
    value = build.concat(branches);
  }
  std::vector<ValueId> branches;
  ValueId value;
};

}  // namespace

TEST_CASE("opened map: equals the block's impulse response with its gates open") {
  GraphBuilder build(9, 1);
  const SmallBlock first(build, build.input());
  const SmallBlock second(build, first.value);
  const Graph graph = build.graph({second.value});
  const Tap input = whole(graph, graph.input);
  for (const ValueId to : {first.value, first.branches[2], second.value, second.branches[3]}) {
    CAPTURE(to);
    // 1e-5: the map is stored in single precision, and sums up to 25 weights of each path.
    CHECK(error_of(opened_map(graph, input, whole(graph, to)), impulse_responses(graph, to, 13)) < 1e-5);
  }
}

TEST_CASE("opened map: groups, dilation, per-channel scales, pads, clips and mean pools") {
  GraphBuilder build(6, 2);
  ValueId at =
      build.conv(build.input(), 12,
                 {.kernel = {3, 3}, .dilation = {2, 2}, .pad_begin = {2, 2}, .pad_end = {2, 2}}, 3, true);
  at = build.affine(at);
  at = build.add(ClipOp{0, 6}, at);
  at = build.add(PadOp{{1, 1}, {1, 1}, 0.0F}, at);
  at = build.add(AveragePoolOp{window(3), false, true}, at);
  at = build.conv(at, 5, window(3, 1, 1));
  const Graph graph = build.graph({at});
  CHECK(error_of(opened_map(graph, whole(graph, graph.input), whole(graph, at)),
                 impulse_responses(graph, at, 17)) < 1e-5);
}

TEST_CASE("opened map: parts of tensors, and joined taps") {
  GraphBuilder build(9, 3);
  const SmallBlock first(build, build.input());
  const SmallBlock second(build, first.value);
  const Graph graph = build.graph({second.value});
  const HostTensor all = opened_map(graph, whole(graph, first.value), whole(graph, second.value));
  const auto at = [&](int64_t to, int64_t from) { return all[to * all.dim(1) + from]; };
  // The 5x5 branch, as its own tensor and as channels of the concat, of both sides.
  const HostTensor own = opened_map(graph, whole(graph, first.branches[2]), whole(graph, second.branches[2]));
  const HostTensor slice = opened_map(graph, {"a", {{first.value, 12, 18}}}, {"b", {{second.value, 12, 18}}});
  // Channels 18, 19 and then 0 to 4 of the first.
  const HostTensor parts = opened_map(graph, {"a", {{first.value, 18, 20}, {first.value, 0, 5}}},
                                      {"b", {{second.value, 3, 4}, {second.branches[1], 0, 7}}});
  REQUIRE(own.shape() == Shape{6, 6});
  REQUIRE(slice.shape() == Shape{6, 6});
  REQUIRE(parts.shape() == Shape{8, 7});
  for (int64_t to = 0; to < 6; ++to) {
    for (int64_t from = 0; from < 6; ++from) {
      CHECK(own[to * 6 + from] == doctest::Approx(at(12 + to, 12 + from)));
      CHECK(slice[to * 6 + from] == doctest::Approx(at(12 + to, 12 + from)));
    }
  }
  for (int64_t from = 0; from < 7; ++from) {
    const int64_t channel = from < 2 ? 18 + from : from - 2;
    CHECK(parts[from] == doctest::Approx(at(3, channel)));
    CHECK(parts[7 + from] == doctest::Approx(at(5, channel)));
  }
  // Of two layers at once: the part of the first that goes through the second is the second's.
  const SmallBlock third(build, second.value);
  const Graph longer = build.graph({third.value});
  const HostTensor joined =
      opened_map(longer, {"a", {{first.value, 0, 20}, {second.value, 0, 20}}}, whole(longer, third.value));
  const HostTensor last = opened_map(longer, whole(longer, second.value), whole(longer, third.value));
  for (int64_t to = 0; to < 20; ++to) {
    for (int64_t from = 0; from < 20; ++from) {
      CHECK(joined[to * 40 + from] == 0);
      CHECK(joined[to * 40 + 20 + from] == last[to * 20 + from]);
    }
  }
}

TEST_CASE("opened map: taps that are not in order, and what cannot be opened, are refused by name") {
  GraphBuilder build(4, 4);
  const SmallBlock first(build, build.input());
  const ValueId lrn = build.add(LrnOp{}, first.value);
  const SmallBlock second(build, lrn);
  const ValueId after = build.conv(second.branches[0], 3, window(1));
  const Graph graph = build.graph({second.value, after});
  const auto refused = [&](const Tap& a, const Tap& b, const std::string& why) {
    CAPTURE(why);
    try {
      opened_map(graph, a, b);
      FAIL("nothing was thrown");
    } catch (const InputError& error) {
      CHECK(std::string(error.what()).find(why) != std::string::npos);
    }
  };
  const Tap a = whole(graph, first.value), b = whole(graph, second.value);
  refused(b, a, "does not lie before");
  refused(whole(graph, first.branches[0]), whole(graph, first.branches[1]), "does not lie before");
  refused(a, a, "are of one tensor");
  refused(a, b, "(LRN)");
  CHECK_NOTHROW(opened_map(graph, whole(graph, lrn), b));
  // Of a joined tap nothing between its parts matters.
  const Tap branch = whole(graph, second.branches[0]);
  CHECK_NOTHROW(opened_map(graph, {"joined", {a.parts[0], branch.parts[0]}}, whole(graph, after)));
  CHECK_NOTHROW(opened_map(graph, whole(graph, graph.input), a));  // what lies behind b does not matter
}

TEST_CASE("opened map: every two neighbours of mixed4a to mixed4e") {
  test::InceptionGraph inception = test::inception_graph(32, 10, 5);
  recognise_blocks(inception.graph);
  for (const auto& [a, b] : {std::pair("mixed4a", "mixed4b"), std::pair("mixed4d", "mixed4e"),
                             std::pair("mixed4a", "mixed4e"), std::pair("mixed4b.5x5", "mixed4c.5x5")}) {
    CAPTURE(a);
    const Graph& graph = inception.graph;
    const Tap from = resolve_tap(graph, a), to = resolve_tap(graph, b);
    const HostTensor map = opened_map(graph, from, to);
    CHECK(map.shape() == Shape{to.width(), from.width()});
    CHECK(std::ranges::any_of(map.values(), [](float value) { return value != 0; }));
  }
}

TEST_CASE("opened map: the same of every export of one network") {
  for (const char* name : {"lucid", "torchvision", "zoo"}) {
    const reference::GoldenSet set = reference::read_golden(name);
    std::optional<HostTensor> first;
    for (const std::filesystem::path& model : set.models) {
      CAPTURE(model);
      const Graph graph = load_onnx(model);
      HostTensor map = opened_map(graph, resolve_tap(graph, "mixed4b"), resolve_tap(graph, "mixed4c"));
      if (!first) {
        first = std::move(map);
        continue;
      }
      REQUIRE(map.shape() == first->shape());
      double difference = 0, size = 0;
      for (int64_t i = 0; i < map.size(); ++i) {
        difference += std::pow(static_cast<double>(map[i]) - static_cast<double>((*first)[i]), 2);
        size += std::pow(static_cast<double>((*first)[i]), 2);
      }
      REQUIRE(size > 0);
      // One export has its weights in half precision.
      CHECK(std::sqrt(difference / size) < (model.string().find("half") == std::string::npos ? 1e-5 : 1e-3));
    }
  }
}

// ---- latents

namespace {

constexpr int64_t kLatents = 150, kImages = 8;
const std::vector<ChannelGroup> kGroups{{"1x1", 0, 20}, {"3x3", 20, 30}, {"5x5", 50, 10}, {"pool", 60, 20}};
constexpr int64_t kChannels = 80;

HostTensor normal_rows(int64_t rows, int64_t columns, uint64_t seed) {
  HostTensor result({rows, columns});
  Random random(seed, 1);
  for (float& value : result.values()) value = static_cast<float>(random.normal());
  return result;
}

/// Every latent fires on every image, some more strongly.
CodeStore all_fire(int64_t latents, int64_t silent = -1) {
  CodeStore store(latents, 1);
  for (int64_t image = 0; image < kImages; ++image) {
    std::vector<float> values;
    std::vector<int32_t> indices;
    for (int64_t i = 0; i < latents; ++i) {
      values.push_back(static_cast<float>(1 + (i * 7 + image * 3) % 5));
      indices.push_back(static_cast<int32_t>(i == silent ? -1 : i));
    }
    store.add_image({values.data(), {1, latents}}, {indices.data(), {1, latents}});
  }
  return store;
}

/// Latent j of the second layer reads what latent order[j] of the first writes, with noise, and lies in the
/// branch of the same name. The rows' lengths differ by three decades.
struct PlantedWeights {
  explicit PlantedWeights(uint64_t seed, double noise = 0.3)
      : order(random_permutation(kLatents, seed, 5)),
        decoder({kLatents, kChannels}),
        encoder({kLatents, kChannels}),
        map({kChannels, kChannels}) {
    Random random(seed, 2);
    for (int64_t i = 0; i < kLatents; ++i) {
      const ChannelGroup& group = kGroups[random.below(4)];
      const double length = std::pow(10, 3 * random.uniform());
      for (int64_t c = 0; c < kChannels; ++c) {
        const bool inside = c >= group.begin && c < group.begin + group.count;
        decoder[i * kChannels + c] = static_cast<float>(length * (inside ? 1 : 0.1) * random.normal());
      }
    }
    for (int64_t c = 0; c < kChannels; ++c) map[c * kChannels + c] = -2;  // inhibits: the sign is left out
    for (int64_t j = 0; j < kLatents; ++j) {
      const float* row = decoder.data() + order[static_cast<size_t>(j)] * kChannels;
      double square = 0;
      for (int64_t c = 0; c < kChannels; ++c)
        square += static_cast<double>(row[c]) * static_cast<double>(row[c]);
      const double size = std::sqrt(square / kChannels);
      for (int64_t c = 0; c < kChannels; ++c)
        encoder[j * kChannels + c] =
            static_cast<float>(static_cast<double>(row[c]) + noise * size * random.normal());
    }
  }
  VirtualWeights weights() const { return virtual_weights(decoder.matrix(), encoder.matrix(), map, kGroups); }

  std::vector<int32_t> order;
  HostTensor decoder, encoder, map;
};

MatchSide side(const CodeStore& codes, const HostTensor& decoder, uint64_t seed) {
  return {&codes, branch_profile(decoder.matrix(), kGroups, codes.densities()),
          random_profile(decoder.dim(0), kGroups, codes.densities(), seed)};
}

MatchOptions by_weights(int threads = 1) {
  return {.similarities = {kByVirtualWeight}, .rounds = 99, .seed = 3, .threads = threads};
}

}  // namespace

TEST_CASE(
    "weight similarity: the cosine of what is written and read, in double; dead latents are like none") {
  const HostTensor decoder = normal_rows(300, kChannels, 1), encoder = normal_rows(140, 33, 2);
  const HostTensor map = normal_rows(33, kChannels, 3);
  const VirtualWeights weights = virtual_weights(decoder.matrix(), encoder.matrix(), map, kGroups);
  std::vector<uint8_t> live_a(300, 1), live_b(140, 1);
  live_a[17] = live_b[99] = 0;
  const WeightSimilarity similarity(weights, live_a, live_b);
  double worst = 0;
  int64_t rows = 0;
  similarity.for_rows(1, [&](int64_t first, View<const float, 2> r) {
    rows += r.shape[0];
    for (int64_t i = 0; i < r.shape[0]; ++i) {
      for (int64_t j = 0; j < 140; ++j) {
        double product = 0, written = 0, read = 0;
        for (int64_t c = 0; c < kChannels; ++c) {
          double reads = 0;
          for (int64_t e = 0; e < 33; ++e)
            reads += static_cast<double>(encoder[j * 33 + e]) * static_cast<double>(map[e * kChannels + c]);
          const auto writes = static_cast<double>(decoder[(first + i) * kChannels + c]);
          product += writes * reads;
          written += writes * writes;
          read += reads * reads;
        }
        const bool dead = first + i == 17 || j == 99;
        const double expected = dead ? 0 : std::abs(product) / std::sqrt(written * read);
        worst = std::max(worst, std::abs(static_cast<double>(r(i, j)) - expected));
      }
    }
  });
  CHECK(rows == 300);
  CHECK(worst < 1e-6);  // single precision: products of 80 numbers of size 1/9
  CHECK_THROWS_AS(WeightSimilarity(weights, live_b, live_a), ShapeError);
  CHECK_THROWS_AS(virtual_weights(encoder.matrix(), decoder.matrix(), map, kGroups), ShapeError);
}

TEST_CASE("weight similarity: shuffling moves channels inside their branch alone") {
  // Latent i writes channel i, and is read by latent i: shuffled, by the one whose channel it got.
  HostTensor identity({kChannels, kChannels});
  for (int64_t c = 0; c < kChannels; ++c) identity[c * kChannels + c] = 1;
  const VirtualWeights weights = virtual_weights(identity.matrix(), identity.matrix(), identity, kGroups);
  const std::vector<uint8_t> live(kChannels, 1);
  const auto moved = [&](uint64_t seed) {
    std::vector<int64_t> place(kChannels, -1);
    WeightSimilarity(weights, live, live, seed).for_rows(1, [&](int64_t first, View<const float, 2> r) {
      for (int64_t i = 0; i < r.shape[0]; ++i) {
        for (int64_t j = 0; j < kChannels; ++j) {
          if (r(i, j) == 1) place[static_cast<size_t>(first + i)] = j;
        }
      }
    });
    return place;
  };
  const std::vector<int64_t> place = moved(1);
  for (const ChannelGroup& group : kGroups) {
    std::vector<int64_t> inside(place.begin() + group.begin, place.begin() + group.begin + group.count);
    std::ranges::sort(inside);
    for (int64_t c = 0; c < group.count; ++c) CHECK(inside[static_cast<size_t>(c)] == group.begin + c);
  }
  CHECK(moved(1) == place);
  CHECK(moved(2) != place);
}

TEST_CASE(
    "match by virtual weights: planted pairs are found whatever their rows' lengths, and keep their branch") {
  const PlantedWeights planted(1);
  const CodeStore codes = all_fire(kLatents);
  const MatchSide a = side(codes, planted.decoder, 1), b = side(codes, planted.encoder, 2);
  const MatchResult result = match_codes(a, b, {}, planted.weights(), by_weights());
  REQUIRE(result.similarities.size() == 1);
  const SimilarityMatch& match = result.similarities[0];
  CHECK(match.name == "virtual weight");
  CHECK_FALSE(match.halves);
  for (const Pairing& pairing : match.pairings) {
    CAPTURE(pairing.name);
    const auto right = std::ranges::count_if(pairing.pairs, [&](const LatentPair& pair) {
      return planted.order[static_cast<size_t>(pair.b)] == pair.a;
    });
    CHECK(right >= kLatents - 5);
    CHECK(std::ssize(pairing.pairs) - right <= 10);
    REQUIRE(pairing.agreement);
    CHECK(pairing.agreement->kappa > 0.9);
    CHECK(std::abs(pairing.random->kappa) < 0.25);  // three sd: 1 / sqrt(150) = 0.08 each
  }
  const std::string json = match_json(result, a, b, "{}");
  CHECK(json.find("\"split_halves\": null") != std::string::npos);
  REQUIRE(match.shuffled);
  CHECK(match.shuffled->pairs < std::ssize(match.pairings[0].pairs) / 2);
  CHECK(std::isnan(match.shuffled->same_q));
  const MatchResult other = match_codes(a, b, {}, planted.weights(), by_weights(3));
  CHECK(match_json(other, a, b, "{}") == json);
}

TEST_CASE("match by virtual weights: unrelated layers give the pairs that the threshold lets through") {
  const PlantedWeights left(2), right(3);
  const VirtualWeights weights =
      virtual_weights(left.decoder.matrix(), right.encoder.matrix(), left.map, kGroups);
  const CodeStore codes = all_fire(kLatents);
  MatchOptions options = by_weights();
  options.quantile = 0.99;
  const MatchResult result =
      match_codes(side(codes, left.decoder, 1), side(codes, right.encoder, 2), {}, weights, options);
  // 1 % of 22,500 is 225; latents of one branch are alike or unlike together, hence the room.
  CHECK(result.similarities[0].above > 100);
  CHECK(result.similarities[0].above < 450);
}

TEST_CASE("match by virtual weights: dead latents take no part; what is missing is said") {
  const PlantedWeights planted(4);
  const CodeStore some = all_fire(kLatents, 7), codes = all_fire(kLatents);
  const MatchSide a = side(some, planted.decoder, 1), b = side(codes, planted.encoder, 2);
  const MatchResult result = match_codes(a, b, {}, planted.weights(), by_weights());
  for (const Pairing& pairing : result.similarities[0].pairings) {
    CHECK(pairing.pairs.size() > 100);
    CHECK(std::ranges::none_of(pairing.pairs, [](const LatentPair& pair) { return pair.a == 7; }));
  }
  const MatchResult none = match_codes(a, b, {}, {.missing = "no path"}, by_weights());
  REQUIRE(none.similarities.size() == 1);
  CHECK(none.similarities[0].skipped == "no path");
  CHECK(match_json(none, a, b, "{}").find("\"virtual weight\": \"no path\"") != std::string::npos);
}
