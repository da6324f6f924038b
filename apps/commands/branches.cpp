#include "analysis/branches/report.h"

#include <fmt/format.h>

#include "analysis/branches/contribution_plot.h"
#include "analysis/branches/report_files.h"
#include "analysis/wordnet.h"
#include "apps/branch_tables.h"
#include "apps/commands/commands.h"
#include "apps/image_list.h"
#include "apps/messages.h"
#include "apps/result_files.h"
#include "apps/scan_input.h"
#include "apps/signals.h"
#include "apps/skipped_images.h"
#include "engine/error.h"
#include "engine/files.h"
#include "engine/spelling.h"

namespace branchsae::apps {
namespace {

struct Options {
  ScanArguments scan;
  std::vector<std::string> concepts;
  double localised = 0.5, colour_limit = 0.5, orientation_limit = 0.5, same_cosine = 0.9;
  int64_t rounds = 10'000, random_rows = 2048;
  bool no_causal = false;
};

const std::vector<std::string> kConcepts = {"animal", "dog", "bird", "colour", "orientation"};

/// A synset of the built-in WordNet by its id or name.
SynsetConcept find_synset(const std::string& word) {
  const WordNet& wordnet = WordNet::built_in();
  std::vector<std::string> ids, names;
  for (const Synset& synset : wordnet.synsets()) {
    if (synset.id == word) return {synset.name, synset.id};
    if (synset.name == word) ids.push_back(synset.id);
    names.push_back(synset.name);
  }
  if (ids.size() == 1) return {word, ids.front()};
  if (ids.empty()) {
    throw InputError(
        fmt::format("--concepts: '{}' is neither colour, orientation nor a group of ImageNet's classes in "
                    "WordNet; the nearest "
                    "names are {}",
                    word, fmt::join(nearest_names(names, word, 3), ", ")));
  }
  throw InputError(
      fmt::format("--concepts: '{}' has several meanings; give one of {}", word, fmt::join(ids, ", ")));
}

/// What is asked of the images.
struct Wanted {
  std::vector<SynsetConcept> synsets;
  bool colour = false, orientation = false;
};

Wanted wanted_concepts(const std::vector<std::string>& words, const ImageSource& images) {
  Wanted wanted;
  for (const std::string& word : words.empty() ? kConcepts : words) {
    if (word == "colour") {
      wanted.colour = true;
    } else if (word == "orientation") {
      wanted.orientation = true;
    } else {
      wanted.synsets.push_back(find_synset(word));
    }
  }
  if (words.empty() && wanted.colour && images.format() != PixelFormat::kU8Rgb) {
    info("the images are preprocessed and cannot be made grey: colour is left out");
    wanted.colour = false;
  }
  return wanted;
}

/// Autoencoders that are looked at in the same passes, and the tap of each.
struct Targets {
  std::vector<SaeFile> saes;
  std::vector<RunTap> taps;
  int64_t bytes = 0;  ///< of what is kept of the images, at most
};

/// Divides autoencoders so that the scores of each part fit into memory. `bytes` each.
class Divider {
 public:
  explicit Divider(int64_t most) : most_(most) {}
  void add(SaeFile sae, const RunTap& tap, int64_t bytes) {
    if (parts_.empty() || parts_.back().bytes + bytes > most_) parts_.emplace_back();
    parts_.back().saes.push_back(std::move(sae));
    parts_.back().taps.push_back(tap);
    parts_.back().bytes += bytes;
  }
  std::vector<Targets> parts() { return std::move(parts_); }

 private:
  int64_t most_;
  std::vector<Targets> parts_;
};

constexpr int64_t kUsualMemory = int64_t{4} << 30, kUsualKept = int64_t{1} << 30;

/// The run's autoencoders with every k that is asked for.
std::vector<Targets> divided(ScanInput& input, const Options& o, int64_t max_memory) {
  Divider divider(max_memory > 0 ? max_memory : kUsualMemory);
  for (size_t i = 0; i < input.saes.size(); ++i) {
    SaeFile& sae = input.saes[i];
    const auto add = [&](SaeFile one) {
      const int64_t bytes = most_score_bytes(input.run.graph, *input.run.images, one, o.random_rows);
      divider.add(std::move(one), input.run.taps[i], bytes);
    };
    for (const int64_t k : o.scan.ks) {
      if (k > sae.spec.n)
        throw InputError(fmt::format("--k {} is more than the {} latents of {}", k, sae.spec.n, sae.tap));
      add(copy_with_k(sae, k));
    }
    if (o.scan.ks.empty()) add(std::move(sae));
  }
  return divider.parts();
}

BranchScanOptions scan_options_of(const Options& o, const ScanInput& input, const Wanted& wanted,
                                  uint64_t seed) {
  BranchScanOptions options{.evaluate = input.options,
                            .colour = wanted.colour,
                            .orientation = wanted.orientation,
                            .causal = !o.no_causal,
                            .random_rows = o.random_rows,
                            .seed = seed};
  options.evaluate.ks.clear();
  return options;
}

BranchReportOptions report_options(const Options& o, const Wanted& wanted, uint64_t seed, int threads) {
  return {.tests = {.localised = o.localised, .rounds = o.rounds, .seed = seed, .threads = threads},
          .synsets = wanted.synsets,
          .colour_limit = o.colour_limit,
          .orientation_limit = o.orientation_limit,
          .same_cosine = o.same_cosine};
}

Json about_of(const Options& o, const ScanInput& input, const RunTap& tap, const BranchScan& scan, int64_t k,
              int64_t seed, int64_t images) {
  Json about = about_scan(input.run, tap, k, seed, images);
  const auto layers = tap_layers(scan.branches);
  about["layer"] = layers.size() == 1 ? Json(layers.front()) : Json(layers);
  if (scan.random)
    about["random_dictionary"] = {{"latents", scan.dictionary.spec.n}, {"k", scan.dictionary.spec.k}};
  about["options"] = {{"colour-limit", o.colour_limit}, {"orientation-limit", o.orientation_limit}};
  about["labels"] = input.labels.synsets ? Json("WordNet 3.0") : Json(input.labels.missing);
  return about;
}

/// Writes one autoencoder's files and prints its tables.
Json finish(const Context& context, const Options& o, const ScanInput& input, const RunTap& tap,
            const SaeFile& sae, const BranchScans& scans, const BranchScan& scan,
            const BranchReportOptions& options) {
  const ImageSynsets* labels = input.labels.synsets ? &*input.labels.synsets : nullptr;
  const BranchReport report = branch_report(sae, scan, labels, options);
  const auto folder = result_folder(input.run, tap, o.scan.out);
  const std::string name = result_name("branches", tap, sae.spec.k);
  const std::string about =
      about_of(o, input, tap, scan, sae.spec.k, context.common.seed, scans.images).dump();
  write_file_atomically(folder / (name + ".json"), branches_json(report, options, about));
  write_file_atomically(folder / (name + ".csv"), branches_csv(report));
  std::string written = name + ".json, .csv";
  if (report.branches.size() > 1) {
    write_file_atomically(folder / (name + ".svg"), contribution_plot(tap.name, report));
    written += ", .svg";
  }
  context.out.text(fmt::format("{}, k = {}: {}{}\n\n", tap.name, sae.spec.k, branches_text(report, options),
                               fmt::format("\nwritten: {}", (folder / written).string())));
  Json result = Json::parse(branches_json(report, options, about, false));
  result["file"] = (folder / (name + ".json")).string();
  return result;
}

void run(const Context& context, const Options& o) {
  ScanInput input = open_scan(o.scan);
  const Wanted wanted = wanted_concepts(o.concepts, *input.run.images);
  if (!input.labels.synsets && !wanted.synsets.empty()) info("no animals, no dogs: " + input.labels.missing);
  const std::vector<Targets> parts = divided(input, o, context.common.max_memory);
  const Device device = open_device(context.common);
  const auto seed = static_cast<uint64_t>(context.common.seed);
  BranchScanOptions scan_options = scan_options_of(o, input, wanted, seed);
  const BranchReportOptions options = report_options(o, wanted, seed, device.backend().threads());
  ScanProgress progress(context, "branches", std::ssize(input.options.images),
                        scan_options.passes() * std::ssize(parts));
  Json taps = Json::array(), skipped;
  int64_t images = 0;
  for (const Targets& part : parts) {
    const int64_t max_memory = context.common.max_memory;
    scan_options.kept_bytes = max_memory > 0 ? std::max<int64_t>(0, max_memory - part.bytes) : kUsualKept;
    const BranchScans scans = scan_branches(device, input.run.graph, *input.run.images, part.saes,
                                            scan_options, [&] { return progress.next_pass(); });
    check_stop();
    if (taps.empty()) warn_of_skipped(scans.skipped);
    skipped = skipped_json(scans.skipped);
    images = scans.images;
    for (size_t i = 0; i < part.saes.size(); ++i) {
      taps.push_back(finish(context, o, input, part.taps[i], part.saes[i], scans, scans.scans[i], options));
      check_stop();
    }
  }
  context.out.json({{"run", input.run.folder.string()},
                    {"images", images},
                    {"skipped", std::move(skipped)},
                    {"taps", std::move(taps)}});
}

}  // namespace

void add_branches(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"branches", "RUN [IMAGES...]", "which branch carries each feature; do branches specialise?",
       R"(Says of every latent of a whole layer's autoencoder how much of it lies in each branch:
  rho       |max(d_b, 0)| / |max(d, 0)|, the paper's; d: the decoder's row, d_b: its part in branch b
  s, l1     |d_b|^2 / |d|^2 and sum |d_b| / sum |d|
  evidence  the branch's part of what the encoder adds up where the latent fires
  causal    how much of its activation is lost when the branch is at its mean, TopK included
beside what chance gives: the branch's channels, its energy, random directions, the neurons themselves.
Then it decides, from the images alone, which latents respond to animals, dogs, birds, colour and
orientation, and tests whether these lie in one branch: odds ratios, AUROC of s, Spearman, information,
and whether one branch beats another. The same is done with the neurons and with a random dictionary.
Written: RUN/<tap>/branches.json, .csv (a line a latent) and .svg (sorted curves); docs/branches.md.)",
       R"(  branchsae branches runs/whole
  branchsae branches runs/whole --tap mixed4c --k 8,32
  branchsae branches runs/whole other-photos/ --concepts animal,cat,n03791235,colour --out results)"},
      [o](const Context& context) { run(context, *o); });
  add_scan_arguments(options, o->scan);
  options.list("--concepts", o->concepts, "NAME",
               "colour, orientation, or groups of classes by WordNet name or id; "
               "animal,dog,bird,colour,orientation by "
               "default");
  options.real("--localised", o->localised, 0, 1, "least share s of a latent that lies in a branch");
  options.count("--rounds", o->rounds, 1, 10'000'000, "permutations a test");
  options.real("--colour-limit", o->colour_limit, -1e6, 1,
               "least colour index: share of the response that is gone in grey");
  options.real("--orientation-limit", o->orientation_limit, -1, 1,
               "least orientation index: 0.5 where the mirror image gets a third of the response");
  options.real("--same-cosine", o->same_cosine, 0, 1,
               "above it a latent counts as a neuron, and latents count as copies of each other");
  options.count("--random-latents", o->random_rows, 1, 1'000'000, "most latents of the random dictionary");
  options.flag("--no-causal", o->no_causal,
               "leave out the causal share, which costs a pass and more encoding");
}

}  // namespace branchsae::apps
