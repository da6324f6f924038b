#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "apps/commands/commands.h"
#include "apps/messages.h"
#include "apps/model_input.h"
#include "apps/numbers.h"
#include "apps/run_summary.h"
#include "apps/train_job.h"
#include "engine/error.h"
#include "engine/files.h"
#include "loader/synthetic.h"

namespace branchsae::apps {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> images;
  std::string model, out, synthetic;
  int64_t tokens = 1'000'000;
};

struct Material {
  std::string model;
  std::vector<std::string> images;
};

/// The folder with model/googlenet.onnx and images/.
std::optional<fs::path> data_folder() {
  const char* set = std::getenv("BRANCHSAE_DATA");
  std::vector<fs::path> places = {"data", fs::path("..") / "shared"};
  if (set != nullptr && *set != '\0') places = {set};
  for (const fs::path& place : places) {
    std::error_code ignored;
    if (fs::exists(place / "model" / "googlenet.onnx", ignored)) return place;
  }
  return std::nullopt;
}

/// Makes up what was not given.
Material synthetic_material(const Options& o, uint64_t seed) {
  const fs::path folder = o.synthetic;
  make_writable_folder(folder);
  Material material{o.model, o.images};
  if (material.model.empty()) {
    warning("the model has random weights: the figures say nothing about InceptionV1");
    material.model = (folder / "synthetic.onnx").string();
    write_synthetic_inception(material.model, {.seed = seed});
  }
  if (material.images.empty()) {
    warning("the images are drawn: the figures say nothing about photos");
    material.images = {(folder / "images").string()};
    write_synthetic_images(folder / "images", {.seed = seed});
  }
  return material;
}

Material find_material(const Options& o, uint64_t seed) {
  if (!o.synthetic.empty()) return synthetic_material(o, seed);
  Material material{o.model, o.images};
  if (!material.model.empty() && !material.images.empty()) return material;
  const auto data = data_folder();
  if (!data) {
    throw InputError(
        "no data: neither $BRANCHSAE_DATA nor ./data nor ../shared has model/googlenet.onnx; give --model "
        "and IMAGES, or --synthetic DIR for a random model and drawn images");
  }
  if (material.model.empty()) material.model = (*data / "model" / "googlenet.onnx").string();
  if (material.images.empty()) material.images = {(*data / "images").string()};
  return material;
}

/// runs/demo, or the next name that is free: an earlier run is never touched.
std::string free_run_folder() {
  std::error_code ignored;
  const std::string first = (fs::path("runs") / "demo").string();
  if (!fs::exists(first, ignored)) return first;
  for (int number = 2;; ++number) {
    const std::string next = fmt::format("{}-{}", first, number);
    if (!fs::exists(next, ignored)) return next;
  }
}

/// The 5x5 branches of the fourth stage; in a model without these names, the third branch of every block.
std::vector<std::string> demo_taps(const Graph& graph) {
  std::vector<std::string> stage_four, all;
  for (const Block& block : graph.blocks) {
    for (const Branch& branch : block.branches) {
      if (branch.name != "5x5") continue;
      all.push_back(block.name + "." + branch.name);
      if (block.name.starts_with("mixed4")) stage_four.push_back(all.back());
    }
  }
  if (all.empty()) throw InputError(graph.source + " has no inception block with a 5x5 branch");
  return stage_four.empty() ? all : stage_four;
}

void run(const Context& context, const Options& o) {
  const auto start = std::chrono::steady_clock::now();
  const auto seed = static_cast<uint64_t>(context.common.seed);
  const Material material = find_material(o, seed);
  const Graph graph = open_model(material.model, {});
  const auto images = open_image_set(material.images, graph, {});
  TrainOptions train;
  train.taps = demo_taps(graph);
  train.tokens = o.tokens;
  train.seed = seed;
  train.max_memory = context.common.max_memory;
  train.out = o.out.empty() ? free_run_folder() : o.out;
  const Device device = open_device(context.common);
  info(fmt::format("model {}, {} images, run {}", material.model, images->size(), train.out.string()));
  const RunOrigin origin = make_origin(material.model, material.images, context.options);
  const TrainResult result = run_train_job(context, device, graph, *images, train, origin);
  const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
  context.out.text(train_text(result, train.out.string()) +
                   fmt::format("whole time {}\n\nnext: branchsae eval {} --k 4,8,16,32\n",
                               as_duration(whole.count()), train.out.string()));
  Json document = train_json(result, train.out.string());
  document["model"] = material.model;
  document["images"] = material.images;
  document["synthetic"] = !o.synthetic.empty();
  document["seconds_whole"] = whole.count();
  context.out.json(std::move(document));
}

}  // namespace

void add_demo(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"demo", "[IMAGES...]", "the whole job on what is at hand, small",
       R"(Trains the five autoencoders of the 5x5 branches of mixed4a to mixed4e on the model and photos that it
finds in $BRANCHSAE_DATA, ./data or ../shared, and prints how well they do on held-out photos.)",
       R"(  branchsae demo
  branchsae demo photos/ --model googlenet.onnx --tokens 3M
  branchsae demo --synthetic made-up)"},
      [o](const Context& context) { run(context, *o); });
  options.positionals("IMAGES", o->images, "images instead of those found");
  options.text("--model", o->model, "FILE", "the model instead of the one found");
  options.text("--out", o->out, "RUN", "the run's folder; else runs/demo, runs/demo-2, ...");
  options.count("--tokens", o->tokens, 1, int64_t{1} << 50, "tokens a tap");
  options.text("--synthetic", o->synthetic, "DIR",
               "make up what is not given: random weights without --model, drawn images without IMAGES;\n"
               "written to DIR");
}

}  // namespace branchsae::apps
