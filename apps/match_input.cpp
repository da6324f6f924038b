#include "apps/match_input.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/matching/match.h"
#include "engine/error.h"

namespace branchsae::apps {
namespace {

namespace fs = std::filesystem;

struct Sides {
  const RunInfo* a;
  const RunInfo* b;
  bool same;
};

struct TapPair {
  RunTap a, b;
};

/// An option that decides how images become input; as both runs recorded it.
void check_same_option(const Sides& runs, const std::string& name) {
  const auto value = [&](const RunInfo& info) {
    const auto found = info.origin.options.find(name);
    return found == info.origin.options.end() ? std::string() : found->second;
  };
  if (value(*runs.a) == value(*runs.b)) return;
  throw InputError(fmt::format("the runs saw their images differently: --{} was {} and {}", name,
                               value(*runs.a), value(*runs.b)));
}

void check_comparable(const Sides& runs, const MatchArguments& arguments) {
  if (runs.a->model_sha256 != runs.b->model_sha256) {
    throw InputError(fmt::format("the runs are of different models: '{}' of sha256 {}, '{}' of sha256 {}",
                                 arguments.scan.run.run, runs.a->model_sha256, arguments.run_b,
                                 runs.b->model_sha256));
  }
  if (runs.a->preprocess != runs.b->preprocess) {
    throw InputError(fmt::format("the runs saw their images differently: preprocessed as '{}' and '{}'",
                                 runs.a->preprocess, runs.b->preprocess));
  }
  check_same_option(runs, "crop");
  check_same_option(runs, "resize");
  const bool given = !arguments.scan.run.images.empty() || !arguments.scan.run.images_option.empty();
  if (!given && runs.a->images_fingerprint != runs.b->images_fingerprint) {
    throw InputError(
        "the runs were trained on different images: name those to compare them on, after RUN_B or with "
        "--images");
  }
}

/// "4a:4b". A tap's name may hold colons itself: the one place where both parts are taps of their runs.
TapPair parse_pair(const Sides& runs, const std::string& text) {
  const auto find = [](const RunInfo& info, std::string_view name) {
    return std::ranges::find(info.taps, name, &RunTap::name);
  };
  for (size_t colon = text.find(':'); colon != std::string::npos; colon = text.find(':', colon + 1)) {
    const auto a = find(*runs.a, text.substr(0, colon)), b = find(*runs.b, text.substr(colon + 1));
    if (a != runs.a->taps.end() && b != runs.b->taps.end()) return {*a, *b};
  }
  const size_t colon = text.find(':');
  if (colon == std::string::npos)
    throw InputError(fmt::format("--tap-pairs '{}': two taps with a colon between them are needed", text));
  find_tap(*runs.a, text.substr(0, colon));
  find_tap(*runs.b, text.substr(colon + 1));
  throw InputError(fmt::format("--tap-pairs '{}': these are no taps of the runs", text));
}

std::vector<TapPair> pairs_by_side(const Sides& runs, const MatchArguments& arguments) {
  const auto& a = arguments.taps_a;
  const auto& b = arguments.taps_b;
  if (a.size() != b.size()) {
    throw InputError(
        fmt::format("--tap-a names {} taps and --tap-b {}: each needs a partner", a.size(), b.size()));
  }
  std::vector<TapPair> pairs;
  for (size_t i = 0; i < a.size(); ++i) pairs.push_back({find_tap(*runs.a, a[i]), find_tap(*runs.b, b[i])});
  return pairs;
}

std::vector<TapPair> common_taps(const Sides& runs) {
  std::vector<TapPair> pairs;
  for (const RunTap& tap : runs.a->taps) {
    const auto other = std::ranges::find(runs.b->taps, tap.name, &RunTap::name);
    if (other != runs.b->taps.end()) pairs.push_back({tap, *other});
  }
  if (pairs.empty()) throw InputError("the runs have no tap in common; name two with --tap-a and --tap-b");
  return pairs;
}

/// The block whose all branches the tap has; -1 when it is another kind of tap.
int64_t whole_layer(const Graph& graph, const RunTap& tap) {
  const auto branches = tap_branches(graph, resolve_tap(graph, tap.name));
  for (size_t i = 0; i < graph.blocks.size(); ++i) {
    const Block& block = graph.blocks[i];
    if (tap_layers(branches) == std::vector<std::string>{block.name} &&
        branches.size() == block.branches.size())
      return static_cast<int64_t>(i);
  }
  return -1;
}

std::vector<TapPair> neighbours(const Graph& graph, const RunInfo& run) {
  std::vector<std::pair<int64_t, RunTap>> layers;
  for (const RunTap& tap : run.taps) {
    if (const int64_t block = whole_layer(graph, tap); block >= 0) layers.emplace_back(block, tap);
  }
  std::ranges::stable_sort(layers, {}, &std::pair<int64_t, RunTap>::first);
  std::vector<TapPair> pairs;
  for (size_t i = 1; i < layers.size(); ++i) {
    if (layers[i - 1].first < layers[i].first) pairs.push_back({layers[i - 1].second, layers[i].second});
  }
  return pairs;
}

bool is_joined(const Graph& graph, const RunTap& tap) {
  return tap_layers(tap_branches(graph, resolve_tap(graph, tap.name))).size() > 1;
}

std::vector<RunTap> joined_taps(const Graph& graph, const RunInfo& run,
                                const std::vector<std::string>& names) {
  std::vector<RunTap> taps;
  if (names.empty()) {
    std::ranges::copy_if(run.taps, std::back_inserter(taps),
                         [&](const RunTap& tap) { return is_joined(graph, tap); });
    return taps;
  }
  for (const std::string& name : names) {
    taps.push_back(find_tap(run, name));
    if (!is_joined(graph, taps.back()))
      throw InputError(fmt::format("--tap-a '{}' is of one layer: name its partner with --tap-b", name));
  }
  return taps;
}

/// Its place among the members, where it is added when it is new.
size_t member(MatchInput& input, const fs::path& folder, bool of_b, const RunTap& tap) {
  for (size_t i = 0; i < input.members.size(); ++i) {
    const MatchMember& one = input.members[i];
    if (one.tap.name == tap.name && (input.same_run || one.of_b == of_b)) return i;
  }
  const Graph& graph = input.run.graph;
  input.members.push_back({folder, of_b, tap, tap_branches(graph, resolve_tap(graph, tap.name))});
  input.saes.push_back(load_sae(sae_path(folder, tap)));
  return input.members.size() - 1;
}

std::vector<TapPair> planned_pairs(const Graph& graph, const Sides& runs, const MatchArguments& arguments) {
  if (!arguments.tap_pairs.empty()) {
    if (!arguments.taps_a.empty() || !arguments.taps_b.empty())
      throw InputError("give either --tap-pairs or --tap-a and --tap-b");
    std::vector<TapPair> pairs;
    for (const std::string& text : arguments.tap_pairs) pairs.push_back(parse_pair(runs, text));
    return pairs;
  }
  if (!arguments.taps_b.empty()) return pairs_by_side(runs, arguments);
  if (!runs.same) {
    if (arguments.taps_a.empty()) return common_taps(runs);
    MatchArguments both = arguments;
    both.taps_b = arguments.taps_a;
    return pairs_by_side(runs, both);
  }
  return arguments.taps_a.empty() ? neighbours(graph, *runs.a) : std::vector<TapPair>{};
}

}  // namespace

MatchInput open_match(const MatchArguments& arguments) {
  MatchInput input;
  const fs::path folder_b = arguments.run_b.empty() ? arguments.scan.run.run : arguments.run_b;
  RunInfo info_b;
  if (!arguments.run_b.empty() && !arguments.scan.run.run.empty()) {
    info_b = read_single_run(folder_b);
    const RunInfo info_a = read_single_run(arguments.scan.run.run);
    check_comparable({&info_a, &info_b, false}, arguments);
  }
  input.run = open_run(arguments.scan.run);
  if (arguments.run_b.empty()) info_b = input.run.info;
  std::error_code ignored;
  input.same_run = fs::equivalent(input.run.folder, folder_b, ignored);
  const Sides runs{&input.run.info, &info_b, input.same_run};
  const bool alone = input.same_run && arguments.tap_pairs.empty() && arguments.taps_b.empty();
  for (const TapPair& pair : planned_pairs(input.run.graph, runs, arguments)) {
    const size_t a = member(input, input.run.folder, false, pair.a);
    input.pairs.push_back({a, member(input, folder_b, true, pair.b)});
  }
  if (alone) {
    for (const RunTap& tap : joined_taps(input.run.graph, input.run.info, arguments.taps_a))
      input.joined.push_back(member(input, input.run.folder, false, tap));
  }
  if (input.pairs.empty() && input.joined.empty()) {
    throw InputError(
        fmt::format("'{}' has no two whole layers to match and no joined tap; name taps with --tap-a and "
                    "--tap-b, or a second run",
                    input.run.folder.string()));
  }
  if (const int64_t images = input.run.images->size(); images < kLeastMatchImages)
    throw InputError(
        fmt::format("{} images: at least {} are needed to match features", images, kLeastMatchImages));
  input.labels = image_labels(*input.run.images, *input.run.classes);
  input.options = scan_options(arguments.scan, input.run);
  return input;
}

}  // namespace branchsae::apps
