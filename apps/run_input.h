#pragma once
/// A command's RUN: what was trained, and the model and images it was trained on.
#include <memory>
#include <string>
#include <vector>

#include "apps/model_input.h"
#include "model/run.h"
#include "model/sae_file.h"

namespace branchsae::apps {

struct RunArguments {
  std::string run;
  std::vector<std::string> images;         ///< IMAGES; empty: the run's
  std::vector<std::string> images_option;  ///< --images, the same
  std::string model;                       ///< --model; empty: the run's
  std::vector<std::string> taps;           ///< empty: all
  std::string classes;                     ///< --classes, where a command has it; empty: the run's
  bool strict = false;                     ///< an unreadable image is an error
};

/// RUN, IMAGES, --model, --images, --tap.
void add_run_arguments(OptionSet& options, RunArguments& arguments);

struct OpenedRun {
  std::filesystem::path folder;
  RunInfo info;
  Graph graph;
  std::shared_ptr<const ClassList> classes;  ///< joins the images' labels
  std::unique_ptr<ImageSource> images;
  std::vector<RunTap> taps;  ///< those asked for
  bool same_images = false;  ///< the set that the run was trained on
};

/// Throws InputError: RUN is missing or no run, no such tap, the model or the run's images are gone or have
/// changed.
OpenedRun open_run(const RunArguments& arguments);

/// What was trained there. Throws InputError when it is no run, or a sweep of several.
RunInfo read_single_run(const std::filesystem::path& folder);

/// The model that a run was trained on, prepared as then; `override_path` when it has moved.
Graph open_run_model(const RunInfo& info, const std::string& override_path);
/// The images that the arguments name, else the run's own, at the run's size; labels by `classes`, null: the
/// run's list. Throws InputError, also when --classes is given and has no label of theirs.
std::unique_ptr<ImageSource> open_run_images(const RunInfo& info, const Graph& graph,
                                             const RunArguments& arguments,
                                             std::shared_ptr<const ClassList> classes = nullptr);
/// `file`, else the list that the run was started with, else as open_class_list() chooses.
std::shared_ptr<const ClassList> open_run_classes(const RunInfo& info, const Graph& graph,
                                                  const std::string& file);

std::vector<SaeFile> load_saes(const OpenedRun& run);

}  // namespace branchsae::apps
