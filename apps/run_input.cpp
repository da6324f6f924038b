#include "apps/run_input.h"

#include <fmt/format.h>

#include "apps/messages.h"
#include "apps/numbers.h"
#include "engine/error.h"

namespace branchsae::apps {
namespace {

/// An option that the run was started with; "" when it was not recorded.
std::string recorded(const RunInfo& info, const std::string& name) {
  const auto found = info.origin.options.find(name);
  return found == info.origin.options.end() ? "" : found->second;
}

InputOptions recorded_input(const RunInfo& info) {
  InputOptions input;
  input.preprocess = info.preprocess;
  std::error_code ignored;
  const std::string classes = recorded(info, "classes");
  if (!classes.empty() && std::filesystem::exists(classes, ignored)) input.classes = classes;
  input.crop = parse_count(recorded(info, "crop")).value_or(0);
  input.resize = parse_count(recorded(info, "resize")).value_or(0);
  return input;
}

}  // namespace

void add_run_arguments(OptionSet& options, RunArguments& arguments) {
  options.positional("RUN", arguments.run, "a folder that `branchsae train` wrote");
  options.positionals("IMAGES", arguments.images, "images; else those the run was trained on");
  options.list("--tap", arguments.taps, "TAP", "some of the run's taps; else all");
  options.text("--model", arguments.model, "FILE", "the model, when it is no longer where the run found it");
  options.list("--images", arguments.images_option, "IMAGES", "the same as IMAGES");
}

Graph open_run_model(const RunInfo& info, const std::string& override_path) {
  const std::string path = override_path.empty() ? info.origin.model_path : override_path;
  std::error_code ignored;
  if (override_path.empty() && !std::filesystem::exists(path, ignored)) {
    throw InputError(fmt::format("the run's model {} is not there any more; name it with --model", path));
  }
  InputOptions input;
  input.preprocess = info.preprocess;
  Graph graph = open_model(path, input);
  check_same_model(info, graph.sha256);
  return graph;
}

std::unique_ptr<ImageSource> open_run_images(const RunInfo& info, const Graph& graph,
                                             const RunArguments& arguments,
                                             std::shared_ptr<const ClassList> classes) {
  InputOptions input = recorded_input(info);
  input.strict = arguments.strict;
  input.refuse_unknown = !arguments.classes.empty();
  const auto& specs = arguments.images.empty() ? arguments.images_option : arguments.images;
  if (!specs.empty()) return open_image_set(specs, graph, input, std::move(classes));
  try {
    auto images = open_image_set(info.origin.images, graph, input, std::move(classes));
    check_same_images(info, images->fingerprint());
    return images;
  } catch (const InputError& error) {
    throw InputError(fmt::format("the run's images: {}; name others with --images", error.what()));
  }
}

std::shared_ptr<const ClassList> open_run_classes(const RunInfo& info, const Graph& graph,
                                                  const std::string& file) {
  InputOptions input = recorded_input(info);
  if (!file.empty()) input.classes = file;
  return open_class_list(input, graph);
}

RunInfo read_single_run(const std::filesystem::path& folder) {
  RunInfo info = read_run(folder);
  if (!info.members.empty()) {
    throw InputError(fmt::format("'{0}' is a sweep of {1} runs; give one of them, such as {0}/sweep/{2}",
                                 folder.string(), info.members.size(), info.members.front().name));
  }
  return info;
}

OpenedRun open_run(const RunArguments& arguments) {
  if (arguments.run.empty()) throw InputError("RUN is missing: give a folder that `branchsae train` wrote");
  if (!arguments.images.empty() && !arguments.images_option.empty()) {
    throw InputError("give the images once: as IMAGES or with --images");
  }
  OpenedRun opened;
  opened.folder = arguments.run;
  opened.info = read_single_run(opened.folder);
  opened.taps = opened.info.taps;
  if (!arguments.taps.empty()) {
    opened.taps.clear();
    for (const std::string& name : arguments.taps) opened.taps.push_back(find_tap(opened.info, name));
  }
  opened.graph = open_run_model(opened.info, arguments.model);
  opened.classes = open_run_classes(opened.info, opened.graph, arguments.classes);
  opened.images = open_run_images(opened.info, opened.graph, arguments, opened.classes);
  opened.same_images = opened.images->fingerprint() == opened.info.images_fingerprint;
  return opened;
}

std::vector<SaeFile> load_saes(const OpenedRun& run) {
  std::vector<SaeFile> saes;
  for (const RunTap& tap : run.taps) saes.push_back(load_sae(sae_path(run.folder, tap)));
  return saes;
}

}  // namespace branchsae::apps
