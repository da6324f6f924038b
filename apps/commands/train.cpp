#include <fmt/format.h>

#include <algorithm>

#include "apps/commands/commands.h"
#include "apps/messages.h"
#include "apps/model_input.h"
#include "apps/run_input.h"
#include "apps/run_summary.h"
#include "apps/sweep_options.h"
#include "apps/train_job.h"
#include "apps/training_options.h"
#include "engine/error.h"
#include "engine/taps.h"

namespace branchsae::apps {
namespace {

struct Arguments {
  std::string model, out, resume, preset;
  std::vector<std::string> images, sweep;
  InputOptions input;
  TrainOptions train;
};

/// What Bozoukov 2025 (arXiv:2504.11489) trains on.
const std::vector<std::string> kPaperTaps = {"mixed4a.5x5", "mixed4b.5x5", "mixed4c.5x5", "mixed4d.5x5",
                                             "mixed4e.5x5", "mixed4d.1x1", "mixed4b",     "mixed4c",
                                             "mixed4d",     "mixed4e"};

void finish(const Context& context, const TrainResult& result, const std::string& run) {
  context.out.text(train_text(result, run));
  context.out.json(train_json(result, run));
}

std::vector<std::string> chosen_taps(const Arguments& a) {
  std::vector<std::string> taps = a.train.taps;
  if (!a.preset.empty()) {
    for (const std::string& tap : kPaperTaps) {
      if (std::find(taps.begin(), taps.end(), tap) == taps.end()) taps.push_back(tap);
    }
  }
  if (taps.empty())
    throw InputError("--tap is missing: name what to train on, such as mixed4c.5x5, or --preset paper");
  return taps;
}

/// Everything that can be refused without touching the disk is refused here.
void check_taps(const Graph& graph, const std::vector<std::string>& names) {
  std::vector<Tap> taps;
  for (const std::string& name : names) taps.push_back(resolve_tap(graph, name));
  check_tap_file_names(taps);
}

/// A key that is swept has no value of its own.
std::vector<SweepMember> chosen_sweep(const Context& context, const std::vector<std::string>& texts) {
  if (texts.empty()) return {};
  try {
    const std::vector<SweepMember> members = plan_sweep(texts);
    for (const std::string& key : swept_keys(texts)) {
      if (context.options.source(key) == OptionSet::Source::kFlag)
        throw InputError(fmt::format("varies '{}': leave out --{}", key, key));
    }
    return members;
  } catch (const InputError& error) {
    const std::string text = error.what();
    throw InputError(text.starts_with("--sweep") ? text : "--sweep " + text);
  }
}

void start_run(const Context& context, const Arguments& a) {
  if (a.out.empty()) throw InputError("--out is missing: name the run's folder");
  if (context.options.given("tokens") && context.options.given("epochs")) {
    throw InputError("give --tokens or --epochs, not both");
  }
  TrainOptions train = a.train;
  train.taps = chosen_taps(a);
  train.sweep = chosen_sweep(context, a.sweep);
  train.out = a.out;
  train.seed = static_cast<uint64_t>(context.common.seed);
  train.max_memory = context.common.max_memory;
  const Graph graph = open_model(a.model, a.input);
  check_taps(graph, train.taps);
  InputOptions input = a.input;
  input.strict = train.strict;
  const auto images = open_image_set(a.images, graph, input);
  const Device device = open_device(context.common);
  const RunOrigin origin = make_origin(a.model, a.images, context.options);
  finish(context, run_train_job(context, device, graph, *images, train, origin), a.out);
}

/// What the library compares with the run's own options is only what the user gave this time.
void resume_run(const Context& context, const Arguments& a) {
  if (!a.out.empty()) throw InputError("--resume RUN goes on in RUN itself; leave out --out");
  if (!a.preset.empty()) throw InputError("--resume goes on with the run's own taps; leave out --preset");
  if (!a.sweep.empty()) throw InputError("--resume goes on with all of the run's sweep; leave out --sweep");
  const RunInfo info = read_run(a.resume);
  TrainOptions given = a.train;
  given.seed = static_cast<uint64_t>(context.common.seed);
  given.max_memory = context.common.max_memory;
  TrainOptions train = info.options;
  train.precision.reset();  // what the run used so far is taken where the device offers it
  overlay_given(context.options, given, train);
  if (context.options.given("tokens")) train.epochs = 0;
  train.out = a.resume;
  train.resume = true;
  const Graph graph = open_run_model(info, a.model);
  RunArguments arguments;
  arguments.images = a.images;
  arguments.strict = train.strict;
  const auto images = open_run_images(info, graph, arguments);
  const Device device = open_device(context.common);
  RunOrigin origin = info.origin;
  if (!a.model.empty()) origin.model_path = make_origin(a.model, {}, context.options).model_path;
  if (!a.images.empty()) origin.images = absolute_specs(a.images);
  finish(context, run_train_job(context, device, graph, *images, train, origin), a.resume);
}

void run(const Context& context, const Arguments& a) {
  if (a.resume.empty()) {
    start_run(context, a);
  } else {
    resume_run(context, a);
  }
}

}  // namespace

void add_train(Application& application) {
  auto a = std::make_shared<Arguments>();
  OptionSet& options = application.add_command(
      {"train", "MODEL IMAGES... --tap TAP... --out RUN", "train sparse autoencoders, one a tap",
       R"(Trains one k-sparse autoencoder on each tap, all from the same forward passes, into the folder RUN; at
the end each is evaluated on held-out images. Ctrl-C finishes the step and writes a checkpoint;
--resume goes on from there, where only --tokens, --threads, --device, --precision and what does not
change the result may be given anew.

A TAP is a branch (mixed4c.5x5), a whole layer (mixed4d), layers of one grid joined (mixed4a+mixed4b,
mixed4a..mixed4e) or a tensor's ONNX name; TAP:pre is before the ReLU.

--sweep trains a grid: one run for every combination in RUN/sweep/KEY=V,KEY=V, each with the bytes of the
same run made alone, all from one pass through the network. It takes k, expansion, lr, warmup, lr-schedule,
auxk, aux-alpha, dead-after, decoder-norm, start-norm, untied and centre.)",
       R"(  branchsae train googlenet.onnx photos/ --tap mixed4c.5x5 --tokens 3M --out runs/first
  branchsae train googlenet.onnx photos/ --preset paper --out runs/paper
  branchsae train googlenet.onnx photos/ --tap mixed4c.5x5 --sweep k=8,16,32 lr=1e-3,1e-2 --out runs/grid
  branchsae train --resume runs/first --tokens 10M)"},
      [a](const Context& context) { run(context, *a); });
  options.positional("MODEL", a->model, "an .onnx file");
  options.positionals("IMAGES", a->images,
                      "folders (searched through), images, text lists, .tar shards or .npy arrays");
  options.list("--tap", a->train.taps, "TAP", "what to train on; several by commas or repeated");
  options.custom({"--sweep", "KEY=V,V",
                  "train every combination of these values at once, from the same tokens", "",
                  [a](const std::vector<std::string>& values) { a->sweep = values; },
                  [a] { return Json(a->sweep); }, true});
  options.text("--out", a->out, "RUN", "the run's folder; made when missing");
  options.text("--resume", a->resume, "RUN", "go on with this run");
  options.choice("--preset", a->preset, {"paper"},
                 "paper: the 5x5 branches of mixed4a-4e, mixed4d.1x1, and the whole of mixed4b, 4c, 4d, 4e");
  add_preprocess_option(options, a->input);
  add_image_options(options, a->input);
  add_training_options(options, a->train);
}

}  // namespace branchsae::apps
