#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "apps/class_names.h"
#include "apps/commands/commands.h"
#include "apps/eval_files.h"
#include "apps/eval_tables.h"
#include "apps/image_list.h"
#include "apps/numbers.h"
#include "apps/output_files.h"
#include "apps/run_summary.h"
#include "apps/scan_input.h"
#include "apps/signals.h"
#include "apps/skipped_images.h"
#include "engine/error.h"
#include "engine/files.h"
#include "model/evaluate.h"
#include "model/image_split.h"

namespace branchsae::apps {
namespace {

struct Options {
  ScanArguments scan;
  int64_t per_class = 0;
  bool all = false, no_splice = false;
};

/// What the passes gave.
struct Measured {
  SplicingResult splicing;
  std::vector<TapEvaluation> evaluations;    ///< by tap, then by k
  std::shared_ptr<const ClassList> classes;  ///< null: not those of the model's outputs
  int64_t labelled = 0;
};

/// On the images that the run was trained on only those that were held out.
std::vector<int64_t> chosen_images(const OpenedRun& opened, bool all) {
  if (opened.same_images && !all) {
    std::vector<int64_t> held_out = split_images(opened.images->size(), opened.info.options.holdout).held_out;
    if (held_out.empty())
      throw InputError("the run held no image out; give other images, or --all for those it was trained on");
    return held_out;
  }
  std::vector<int64_t> indices(static_cast<size_t>(opened.images->size()));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

std::vector<int64_t> ascending(std::vector<int64_t> ks) {
  std::ranges::sort(ks);
  if (const auto twice = std::ranges::adjacent_find(ks); twice != ks.end())
    throw InputError(fmt::format("--k: {} is given twice", *twice));
  return ks;
}

EvaluateOptions evaluate_options(const Options& o, const OpenedRun& opened) {
  EvaluateOptions options = scan_options(o.scan, opened);
  options.images = chosen_images(opened, o.all);
  options.ks = ascending(std::move(options.ks));
  return options;
}

/// Null for a network that classifies nothing.
std::shared_ptr<const ClassList> classes_of(const OpenedRun& opened, bool given) {
  ClassScores scores;
  try {
    scores = find_class_scores(opened.graph);
  } catch (const InputError&) {
    return nullptr;
  }
  return matching_classes(opened.classes, scores, given);
}

/// By autoencoder, then by k.
std::vector<TapEvaluation> by_tap(const OpenedRun& opened, const SplicingResult& splicing) {
  std::vector<TapEvaluation> all;
  for (size_t i = 0; i < opened.taps.size(); ++i) {
    const SplicingEvaluation& evaluation = splicing.evaluations[i];
    for (const Reconstruction& one : evaluation.reconstructions)
      all.push_back({opened.taps[i], {evaluation.tap, one.k, one.metrics}, one.figures, &evaluation});
  }
  return all;
}

Measured measure(const Context& context, const Options& o, const OpenedRun& opened) {
  const std::vector<SaeFile> saes = load_saes(opened);
  Measured measured;
  measured.classes = classes_of(opened, !o.scan.run.classes.empty());
  SplicingOptions options{.evaluate = evaluate_options(o, opened),
                          .splice = !o.no_splice,
                          .labelled = measured.classes != nullptr};
  if (context.common.max_memory > 0) options.kept_bytes = context.common.max_memory;
  const Device device = open_device(context.common);
  ScanProgress progress(context, "eval", std::ssize(options.evaluate.images), 2);
  measured.splicing =
      evaluate_splicing(device, opened.graph, *opened.images, saes, options, progress.next_pass());
  check_stop();

  std::set<int64_t> unreadable;
  for (const SkippedImage& one : measured.splicing.skipped) unreadable.insert(one.index);
  for (const int64_t image : options.evaluate.images) {
    const bool counts = options.labelled && !unreadable.contains(image);
    measured.labelled += counts && opened.images->info(image).label >= 0 ? 1 : 0;
  }
  measured.evaluations = by_tap(opened, measured.splicing);
  return measured;
}

/// What a file says of where its figures come from.
Json about(const TapEvaluation& one, const OpenedRun& opened, const Measured& measured, const char* which) {
  Json json = about_scan(opened, one.tap, one.k(), opened.info.options.seed, measured.splicing.images);
  json.update(Json{{"d", one.tap.d},
                   {"n", one.tap.n},
                   {"which", which},
                   {"labelled", measured.labelled},
                   {"skipped", skipped_json(measured.splicing.skipped)},
                   {"tokens", one.metrics.metrics.tokens}});
  return json;
}

/// A folder's files for each tap. Returns their paths.
std::vector<std::string> write_files(const Options& o, const OpenedRun& opened, const Measured& measured,
                                     const char* which) {
  const std::filesystem::path base = o.scan.out.empty() ? opened.folder : std::filesystem::path(o.scan.out);
  std::vector<std::unique_ptr<OutputFolder>> folders;
  std::vector<std::string> written;
  for (const TapEvaluation& one : measured.evaluations) {
    folders.push_back(std::make_unique<OutputFolder>((base / one.tap.folder).string()));
    const auto write = [&](const std::string& name, const std::string& text) {
      written.push_back(folders.back()->file(name).string());
      write_file_atomically(written.back(), text);
    };
    const ClassList* classes = measured.classes.get();
    Json document = {{"about", about(one, opened, measured, which)}};
    document.update(evaluation_json(one));
    document["formulas"] = formulas_json();
    document["classes"] = classes_json(one, classes);
    write(eval_file_name(one.k()) + ".json", dump(document));
    if (one.spliced() && measured.labelled > 0)
      write(eval_file_name(one.k()) + ".csv", classes_csv(one, classes));
  }
  for (const auto& folder : folders) folder->commit();
  return written;
}

std::string labels_text(const Measured& measured) {
  if (measured.labelled == 0)
    return "no image is labelled: KL and same top-1 need no labels, top-1, top-5 and CE (cross-entropy) do\n";
  if (measured.labelled < measured.splicing.images) {
    return fmt::format("top-1, top-5 and CE (cross-entropy) over the {} labelled of {} images\n",
                       with_separators(measured.labelled), with_separators(measured.splicing.images));
  }
  return "";
}

std::string splicing_text(const Options& o, const Measured& measured) {
  if (o.no_splice) return "";
  std::string text;
  if (const Table table = splicing_table(measured.evaluations); !table.empty()) {
    text = fmt::format(
        "the network with the tap replaced (CE: cross-entropy, KL: from the untouched network, in nats; "
        "rec.: "
        "share of the loss\nthat the reconstruction recovers, against the tap at zero or at its mean):\n{}{}",
        table.text(), labels_text(measured));
  }
  for (const TapEvaluation& one : measured.evaluations) {
    if (o.per_class == 0 || !one.spliced() || measured.labelled == 0) continue;
    text += fmt::format("\nclasses of {} at k = {} by the cross-entropy that the reconstruction adds:\n{}",
                        one.tap.name, one.k(), class_table(one, measured.classes.get(), o.per_class).text());
  }
  return text + refusals_text(measured.evaluations) + "\n";
}

void print(const Context& context, const Options& o, const OpenedRun& opened, const Measured& measured,
           const char* which, const std::vector<std::string>& files) {
  std::vector<TapLine> lines;
  Json evaluations = Json::array();
  for (const TapEvaluation& one : measured.evaluations) {
    Json metrics = evaluation_json(one);
    lines.push_back({one.tap.name, one.tap.d, one.tap.n, one.k(), metrics});
    if (o.per_class > 0) metrics["classes"] = classes_json(one, measured.classes.get());
    evaluations.push_back(std::move(metrics));
  }
  std::string written;
  for (const std::string& file : files) written += file + "\n";
  const int64_t tokens = measured.evaluations.front().metrics.metrics.tokens;
  context.out.text(fmt::format(
      "{}\nthe same and more as others report it:\n{}\n{}\nshare of tokens on which a latent is active, "
      "quantiles over latents:\n{}\n{}{} {} images, {} tokens a tap{}\nwritten:\n{}",
      metrics_table(lines).text(), figures_table(measured.evaluations).text(), formulas_text(),
      density_table(measured.evaluations).text(), splicing_text(o, measured),
      with_separators(measured.splicing.images), which, with_separators(tokens),
      measured.splicing.skipped.empty() ? "" : fmt::format(", {} skipped", measured.splicing.skipped.size()),
      written));
  context.out.json({{"run", opened.folder.string()},
                    {"images", measured.splicing.images},
                    {"which", which},
                    {"labelled", measured.labelled},
                    {"skipped", skipped_json(measured.splicing.skipped)},
                    {"evaluations", std::move(evaluations)},
                    {"formulas", formulas_json()},
                    {"files", files}});
}

void run(const Context& context, const Options& o) {
  if (o.per_class > 0 && o.no_splice)
    throw InputError("--per-class compares predictions, which --no-splice leaves out: give one of them");
  const OpenedRun opened = open_run(o.scan.run);
  const Measured measured = measure(context, o, opened);
  warn_of_skipped(measured.splicing.skipped);
  const char* which = opened.same_images && !o.all ? "held-out" : "given";
  print(context, o, opened, measured, which, write_files(o, opened, measured, which));
}

}  // namespace

void add_eval(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"eval", "RUN [IMAGES...]",
       "how well a run's autoencoders reconstruct, and what that costs the network",
       R"(Reconstructs the tokens of images that the autoencoders were not trained on; prints, for each tap:
  FVU     sum |x - x_hat|^2 / sum |x - mean x|^2 (explained variance = 1 - FVU)
  mse     mean over tokens and channels of (x - x_hat)^2, in the network's own units
  l0      latents active a token
  dead    share of latents never active on these tokens
  cosine  mean cosine of x and x_hat
the variants of explained variance that other libraries report, each with its formula, and how often latents
fire. Then the network runs on with the tap replaced by its reconstruction, by its mean and by zero: top-1,
top-5, cross-entropy, KL divergence from the untouched network, and the share of the loss recovered.
On the images of the run itself only the held-out ones are used. --k tries other numbers of kept latents on
the same weights. Everything is also written to RUN/<tap>/eval-k<k>.json, by class to .csv.)",
       R"(  branchsae eval runs/first
  branchsae eval runs/first other-photos/ --json
  branchsae eval runs/first --tap mixed4c.5x5 --k 4,8,16,32 --per-class 10
  branchsae eval runs/first --no-splice --out elsewhere)"},
      [o](const Context& context) { run(context, *o); });
  add_scan_arguments(options, o->scan);
  options.flag("--all", o->all, "all of the run's images, not only the held-out ones");
  options.flag("--no-splice", o->no_splice, "do not run the network on from the taps");
  options.count("--per-class", o->per_class, 0, 1 << 20,
                "print so many classes that lose most by the replacement, and so many that lose least");
}

}  // namespace branchsae::apps
