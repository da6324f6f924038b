#include "apps/scan_input.h"

#include <fmt/format.h>

#include <numeric>

#include "apps/forward_pass.h"
#include "apps/messages.h"
#include "apps/signals.h"
#include "engine/files.h"

namespace branchsae::apps {

void add_scan_options(OptionSet& options, ScanArguments& arguments) {
  options.counts("--k", arguments.ks, 1, INT32_MAX, "latents kept a token; as trained by default");
  options.text(
      "--classes", arguments.run.classes, "FILE",
      "what the classes of the images' labels are (index, WordNet id, names, by tabs); else the run's");
  options.text("--out", arguments.out, "DIR", "write below this folder instead of the run's own");
  options.count("--batch", arguments.batch, 1, 4096, "images a forward pass");
  add_conv_of_run(options, arguments.conv);
  options.flag("--strict", arguments.run.strict, "an unreadable image is an error");
}

void add_scan_arguments(OptionSet& options, ScanArguments& arguments) {
  add_run_arguments(options, arguments.run);
  add_scan_options(options, arguments);
}

ImageLabels image_labels(const ImageSource& images, const ClassList& classes) {
  std::vector<std::string> ids;
  int64_t labelled = 0, named = 0;
  for (int64_t i = 0; i < images.size(); ++i) {
    const int32_t label = images.info(i).label;
    ids.push_back(label < 0 ? "" : classes.at(label).wordnet_id);
    labelled += label < 0 ? 0 : 1;
    named += ids.back().empty() ? 0 : 1;
  }
  ImageLabels labels;
  if (labelled == 0) {
    labels.missing = fmt::format(
        "no image has a label that the class list ({}) knows: name their folders or files by class, add .cls "
        "entries, or give the list of their classes with --classes",
        classes.source());
  } else if (named == 0) {
    labels.missing = fmt::format("the class list {} has no WordNet ids; give one that does with --classes",
                                 classes.source());
  } else {
    labels.synsets.emplace(WordNet::built_in(), ids);
    if (const int64_t unknown = named - labels.synsets->labelled(); unknown > 0)
      warning(
          fmt::format("{} of {} labelled images have a class that the built-in WordNet lacks; they count "
                      "as unlabelled",
                      unknown, named));
  }
  return labels;
}

EvaluateOptions scan_options(const ScanArguments& arguments, const OpenedRun& run) {
  EvaluateOptions options;
  options.images.resize(static_cast<size_t>(run.images->size()));
  std::iota(options.images.begin(), options.images.end(), int64_t{0});
  options.ks = arguments.ks;
  options.forward_batch = arguments.batch;
  options.strict = arguments.run.strict;
  options.precision = run.info.options.precision;
  options.conv = conv_of_run(arguments.conv, run.info.options.conv);
  return options;
}

ScanInput open_scan(const ScanArguments& arguments) {
  ScanInput input;
  input.run = open_run(arguments.run);
  input.saes = load_saes(input.run);
  input.labels = image_labels(*input.run.images, *input.run.classes);
  input.options = scan_options(arguments, input.run);
  return input;
}

ScanProgress::ScanProgress(const Context& context, std::string title, int64_t images, int64_t passes)
    : progress_(std::move(title), images * passes, "images", context.common.progress()), images_(images) {}

EvaluateCallbacks ScanProgress::next_pass() {
  EvaluateCallbacks callbacks;
  const int64_t before = images_ * passes_begun_++;
  callbacks.progress = [this, before](int64_t done, int64_t) { progress_.update(before + done); };
  callbacks.stop_requested = [] { return stop_signal() != 0; };
  return callbacks;
}

Json about_scan(const OpenedRun& run, const RunTap& tap, int64_t k, int64_t seed, int64_t images_read) {
  return {{"run", run.folder.string()},
          {"tap", tap.name},
          {"k", k},
          {"trained_k", tap.k},
          {"seed", seed},
          {"sae_sha256", sha256_of_file(sae_path(run.folder, tap))},
          {"model_sha256", run.graph.sha256},
          {"images", images_read},
          {"images_sha256", run.images->fingerprint()}};
}

}  // namespace branchsae::apps
