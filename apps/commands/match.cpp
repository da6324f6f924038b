#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "analysis/matching/match_report.h"
#include "analysis/matching/opened_map.h"
#include "apps/commands/commands.h"
#include "apps/image_list.h"
#include "apps/match_codes.h"
#include "apps/match_input.h"
#include "apps/match_tables.h"
#include "apps/messages.h"
#include "apps/numbers.h"
#include "apps/progress.h"
#include "apps/result_files.h"
#include "apps/signals.h"
#include "apps/skipped_images.h"
#include "engine/error.h"
#include "engine/files.h"

namespace branchsae::apps {
namespace {

namespace fs = std::filesystem;

/// Words of --similarity, and what results call them.
const std::map<std::string, const char*> kSimilarities{
    {"correlation", kByCorrelation}, {"profile", kByClassProfile}, {"weight", kByVirtualWeight}};

struct Options {
  MatchArguments match;
  std::vector<std::string> similarities = {"correlation", "profile", "weight"};
  int64_t positions = 0, rounds = 10000;
  double quantile = 0.999, layer_share = 0.1;
};

/// What all of the command's results have in common.
class Job {
 public:
  Job(const Context& context, const Options& options)
      : context_(context),
        options_(options),
        similarities_(similarities(options)),
        input_(open_match(options.match)) {}

  void run() {
    const Device device = open_device(context_.common);
    threads_ = device.backend().threads();
    codes_ = read_codes(context_, device, input_, options_.positions);
    warn_of_skipped(codes_.skipped);
    if (!input_.labels.missing.empty() && compares_by(kByClassProfile))
      info("no class profiles: " + input_.labels.missing);
    for (const MatchInput::Pair& pair : input_.pairs) {
      const size_t ks = std::min(codes_.members[pair.a].ks.size(), codes_.members[pair.b].ks.size());
      const VirtualWeights weights = weights_of(pair);
      for (size_t k = 0; k < ks; ++k) match(pair, k, weights);
    }
    for (size_t member : input_.joined) {
      for (size_t k = 0; k < codes_.members[member].ks.size(); ++k) join(member, k);
    }
    context_.out.json({{"run", input_.run.folder.string()},
                       {"images", input_.run.images->size() - std::ssize(codes_.skipped)},
                       {"skipped", skipped_json(codes_.skipped)},
                       {"matches", std::move(documents_)}});
  }

 private:
  static std::vector<std::string> similarities(const Options& options) {
    std::vector<std::string> names;
    for (const std::string& word : options.similarities) {
      const auto found = kSimilarities.find(word);
      if (found == kSimilarities.end())
        throw InputError(fmt::format("--similarity takes correlation, profile and weight, not '{}'", word));
      names.emplace_back(found->second);
    }
    return names;
  }
  bool compares_by(const char* name) const {
    return std::ranges::find(similarities_, name) != similarities_.end();
  }

  /// Of a's latents on b's; where there are none, why.
  VirtualWeights weights_of(const MatchInput::Pair& pair) const {
    if (!compares_by(kByVirtualWeight)) return {.missing = "not asked for"};
    const MatchMember &a = input_.members[pair.a], &b = input_.members[pair.b];
    const Graph& graph = input_.run.graph;
    HostTensor map;
    try {
      map = opened_map(graph, resolve_tap(graph, a.tap.name), resolve_tap(graph, b.tap.name));
    } catch (const InputError& error) {
      return {.missing = error.what()};
    }
    return virtual_weights(input_.decoder(pair.a), input_.saes[pair.b].parameters.w.matrix(), map,
                           channel_groups(a.branches));
  }

  uint64_t seed() const { return static_cast<uint64_t>(context_.common.seed); }
  const CodeStore& codes(size_t member, size_t k) const { return codes_.members[member].codes[k]; }
  int64_t k_of(size_t member, size_t k) const { return codes_.members[member].ks[k]; }

  MatchSide side(size_t member, size_t k, uint64_t salt) const {
    const auto groups = channel_groups(input_.members[member].branches);
    const std::vector<double> density = codes(member, k).densities();
    return {&codes(member, k), branch_profile(input_.decoder(member), groups, density),
            random_profile(input_.saes[member].spec.n, groups, density, 2 * seed() + salt)};
  }

  void match(const MatchInput::Pair& pair, size_t k, const VirtualWeights& weights) {
    check_stop();
    const MatchSide a = side(pair.a, k, 0), b = side(pair.b, k, 1);
    const MatchResult result = match_codes(a, b, codes_.class_of, weights,
                                           {.similarities = similarities_,
                                            .quantile = options_.quantile,
                                            .rounds = options_.rounds,
                                            .seed = seed(),
                                            .threads = threads_});
    const MatchMember &left = input_.members[pair.a], &right = input_.members[pair.b];
    Json about = common_about();
    about["a"] = about_member(pair.a, k);
    about["b"] = about_member(pair.b, k);
    about["quantile"] = options_.quantile;
    about["null"] = "images of b shuffled; of virtual weights the channels of a, inside each branch";
    const std::string json = match_json(result, a, b, about.dump());
    const std::string other_run = tap_file_name(fs::canonical(right.run).filename().string());
    const std::string partner =
        input_.same_run ? right.tap.folder : fmt::format("{}.{}", other_run, right.tap.folder);
    const fs::path file = write(left, "match-" + partner, k_of(pair.a, k), json, match_csv(result, a, b));
    print_title(fmt::format("{} and {}{}, k {} and {}: {} images, {} tokens, {} and {} live features",
                            left.tap.name, right.tap.name,
                            input_.same_run ? "" : fmt::format(" of {}", right.run.string()), k_of(pair.a, k),
                            k_of(pair.b, k), with_separators(result.images), with_separators(result.tokens),
                            with_separators(result.live_a), with_separators(result.live_b)),
                match_text(result), file);
    remember(json, file);
  }

  void join(size_t member, size_t k) {
    check_stop();
    const CodeStore& store = codes(member, k);
    const JoinedResult result = match_joined(
        input_.decoder(member), input_.members[member].branches, codes_.members[member].channel_energy,
        store.densities(), {.least_share = options_.layer_share, .rounds = options_.rounds, .seed = seed()});
    Json about = common_about();
    about["a"] = about_member(member, k);
    about["images"] = store.images();
    about["tokens"] = store.tokens();
    about["layer_share"] = options_.layer_share;
    const std::string json = joined_json(result, about.dump());
    const MatchMember& one = input_.members[member];
    const fs::path file = write(one, "match", k_of(member, k), json, joined_csv(result));
    print_title(fmt::format("{}, k {}: {} images, {} tokens", one.tap.name, k_of(member, k),
                            with_separators(store.images()), with_separators(store.tokens())),
                joined_text(result), file);
    remember(json, file);
  }

  Json common_about() const {
    return {
        {"model_sha256", input_.run.graph.sha256},
        {"images_sha256", input_.run.images->fingerprint()},
        {"seed", context_.common.seed},
        {"rounds", options_.rounds},
        {"positions", codes_.positions},
        {"of_positions", codes_.of_positions},
        {"tests",
         "fisher_p: Fisher exact, two-sided; spearman_p: Student's t; chi_p: Pearson's chi-square; both_p, "
         "permutation_p: branch profiles exchanged within deciles of density, one-sided"},
        {"correction", "Benjamini-Hochberg over this file, one family a kind of test"}};
  }

  Json about_member(size_t member, size_t k) const {
    const MatchMember& one = input_.members[member];
    return {{"run", one.run.string()},
            {"tap", one.tap.name},
            {"k", k_of(member, k)},
            {"trained_k", one.tap.k},
            {"latents", input_.saes[member].spec.n},
            {"sae_sha256", sha256_of_file(sae_path(one.run, one.tap))}};
  }

  fs::path write(const MatchMember& owner, const std::string& name, int64_t k, const std::string& json,
                 const std::string& csv) const {
    const fs::path folder = result_folder(input_.run, owner.tap, options_.match.scan.out);
    const std::string stem = result_name(name, owner.tap, k);
    write_file_atomically(folder / (stem + ".csv"), csv);
    write_file_atomically(folder / (stem + ".json"), json);
    return folder / (stem + ".json");
  }

  void print_title(const std::string& title, const std::string& text, const fs::path& file) {
    context_.out.text(
        fmt::format("{}{}\n\n{}\n{} and .csv\n", documents_.empty() ? "" : "\n", title, text, file.string()));
  }

  void remember(const std::string& json, const fs::path& file) {
    Json document = Json::parse(json);
    document["file"] = file.string();
    for (Json& similarity : document["similarities"])
      similarity.erase("pairs");  // thousands; the file has them
    documents_.push_back(std::move(document));
  }

  const Context& context_;
  const Options& options_;
  std::vector<std::string> similarities_;
  MatchInput input_;
  MatchCodes codes_;
  Json documents_ = Json::array();
  int threads_ = 1;
};

void add_arguments(OptionSet& options, MatchArguments& match) {
  RunArguments& run = match.scan.run;
  options.positional("RUN_A", run.run, "a folder that `branchsae train` wrote");
  options.positional("RUN_B", match.run_b, "another one, of the same model; else RUN_A alone");
  options.positionals("IMAGES", run.images, "images; else those the runs were trained on");
  options.list("--tap-a", match.taps_a, "TAP", "taps of RUN_A");
  options.list("--tap-b", match.taps_b, "TAP", "their partners in RUN_B, in the same order");
  options.list("--tap-pairs", match.tap_pairs, "A:B", "both at once: mixed4b:mixed4c,mixed4c:mixed4d");
  options.text("--model", run.model, "FILE", "the model, when it is no longer where the run found it");
  options.list("--images", run.images_option, "IMAGES", "the same as IMAGES");
  add_scan_options(options, match.scan);
}

}  // namespace

void add_match(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"match", "RUN_A [RUN_B] [IMAGES...]", "do similar features keep their branch?",
       R"(Pairs the features of two autoencoders that respond to the same things, and tests whether pairs lie in
the same branch more often than chance. Two layers have no basis in common, so that features are compared by
what they do on the same images, or by the network's weights from the one to the other:
  correlation     Pearson's r of the codes over the same image and position
  class profile   Pearson's r of the mean scores per class, on labelled images
  virtual weight  |cosine| of what one feature writes and what the other reads of the first one's layer,
                  through the convolutions between them with every non-linearity open
Pairs are each other's best, or one-to-one with the largest total; both only above the 99.9th percentile of
the same similarity with the images of one side shuffled (of weights: one side's channels). For every branch:
odds ratio and Fisher's test of "both are dominated by it", Spearman's r of the shares; for all together kappa,
Cramer's V and a permutation of the branches within deciles of density. Pairs found on the images of even
number are tried on the others.

Without RUN_B neighbouring whole layers of RUN_A are matched, and its joined taps by themselves: there a feature
that lives in two layers is its own pair. With RUN_B the taps that both runs have: two seeds give the ceiling.)",
       R"(  branchsae match runs/first
  branchsae match runs/first --tap-a mixed4c --tap-b mixed4d
  branchsae match runs/seed1 runs/seed2 photos/ --tap-a mixed4c
  branchsae match runs/first --tap-pairs mixed4b:mixed4c,mixed4c:mixed4d --k 4,8,16,32
  branchsae match runs/first --similarity weight --positions 9)"},
      [o](const Context& context) { Job(context, *o).run(); });
  add_arguments(options, o->match);
  options.list(
      "--similarity", o->similarities, "NAME",
      "what features are compared by: correlation, profile (class profile), weight (virtual weight); "
      "all by default");
  options.count("--positions", o->positions, 0, INT32_MAX,
                "positions of an image that are compared; 0: all that fit --max-memory");
  options.real("--quantile", o->quantile, 0.5, 1, "of the shuffled null, above which a pair counts");
  options.count("--rounds", o->rounds, 99, 10'000'000, "permutations of a test");
  options.real("--layer-share", o->layer_share, 0, 1,
               "share of a joined tap's feature from which on it lives in a layer");
}

}  // namespace branchsae::apps
