#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "apps/commands/commands.h"
#include "apps/messages.h"
#include "apps/model_input.h"
#include "apps/numbers.h"
#include "apps/run_summary.h"
#include "apps/table.h"
#include "engine/error.h"
#include "engine/passes.h"

namespace branchsae::apps {
namespace {

constexpr int64_t kExpansion = 16;  // the default of train

struct Options {
  std::string what;
  InputOptions input;
};

/// "14 x 14", or "" where a value has no grid.
std::string grid_text(const Shape& shape) {
  return shape.size() == 4 ? fmt::format("{} x {}", shape[2], shape[3]) : "";
}

Json grid_json(const Shape& shape) {
  return shape.size() == 4 ? Json({shape[2], shape[3]}) : Json();
}

std::map<std::string, int64_t> count_ops(const Graph& graph) {
  std::map<std::string, int64_t> counts;
  for (const Node& node : graph.nodes) ++counts[op_name(node.op)];
  return counts;
}

/// Convolution and linear weights with their biases.
int64_t count_parameters(const Graph& graph) {
  int64_t count = 0;
  const auto add = [&](const ConstTensor& tensor) { count += tensor ? tensor->size() : 0; };
  for (const Node& node : graph.nodes) {
    if (const auto* conv = std::get_if<ConvOp>(&node.op)) add(conv->weight), add(conv->bias);
    if (const auto* linear = std::get_if<LinearOp>(&node.op)) add(linear->weight), add(linear->bias);
    if (const auto* affine = std::get_if<AffineOp>(&node.op)) add(affine->scale), add(affine->shift);
  }
  return count;
}

Table layer_table(const Graph& graph, const std::vector<Shape>& shapes) {
  using enum Table::Align;
  Table table(
      {{"layer"}, {"branch"}, {"channels", kRight}, {"range"}, {"kernel"}, {"grid"}, {"SAE width", kRight}});
  for (const Block& block : graph.blocks) {
    const Shape& shape = shapes[static_cast<size_t>(block.value)];
    const int64_t width = block.branches.back().end;
    table.row({block.name, "(whole)", std::to_string(width), fmt::format("0-{}", width - 1), "",
               grid_text(shape), std::to_string(kExpansion * width)});
    for (const Branch& branch : block.branches) {
      const int64_t channels = branch.end - branch.begin;
      table.row({block.name, branch.name, std::to_string(channels),
                 fmt::format("{}-{}", branch.begin, branch.end - 1), branch.kernel, grid_text(shape),
                 std::to_string(kExpansion * channels)});
    }
  }
  return table;
}

Json blocks_json(const Graph& graph, const std::vector<Shape>& shapes) {
  Json blocks = Json::array();
  for (const Block& block : graph.blocks) {
    const Json grid = grid_json(shapes[static_cast<size_t>(block.value)]);
    const int64_t width = block.branches.back().end;
    Json branches = Json::array();
    for (const Branch& branch : block.branches) {
      const int64_t channels = branch.end - branch.begin;
      branches.push_back({{"branch", branch.name},
                          {"tap", block.name + "." + branch.name},
                          {"channels", channels},
                          {"begin", branch.begin},
                          {"end", branch.end},
                          {"kernel", branch.kernel},
                          {"grid", grid},
                          {"sae_width", kExpansion * channels}});
    }
    blocks.push_back({{"layer", block.name},
                      {"tensor", graph.value(block.value).name},
                      {"channels", width},
                      {"grid", grid},
                      {"sae_width", kExpansion * width},
                      {"branches", std::move(branches)}});
  }
  return blocks;
}

void inspect_model(const Context& context, const Options& o) {
  const Graph graph = open_model(o.what, o.input);
  const InputSize size = used_input_size(graph);
  const std::vector<Shape> shapes = infer_shapes(graph, 1, size.height, size.width);
  const Value& input = graph.value(graph.input);
  const std::string preprocess =
      graph.preprocess ? describe(*graph.preprocess) : "undecided, give --preprocess";
  std::string text =
      fmt::format("model       {}\nsha256      {}\ninput       {} {}, shown for {} x {}\n", graph.source,
                  graph.sha256, input.name, to_string(input.shape), size.height, size.width);
  text += fmt::format("preprocess  {}\n            {}\n", preprocess, graph.preprocess_reason);
  Json outputs = Json::array();
  for (const ValueId id : graph.outputs) {
    const Shape& shape = shapes[static_cast<size_t>(id)];
    text += fmt::format("output      {} {}\n", graph.value(id).name, to_string(shape));
    outputs.push_back({{"name", graph.value(id).name}, {"shape", shape}});
  }
  std::string ops;
  for (const auto& [name, count] : count_ops(graph))
    ops += fmt::format("{}{} {}", ops.empty() ? "" : ", ", count, name);
  text += fmt::format("nodes       {}: {}\nparameters  {}\n\n", graph.nodes.size(), ops,
                      with_separators(count_parameters(graph)));
  text += graph.blocks.empty()
              ? "no inception blocks were recognised; tensors can be tapped by their ONNX names\n"
              : layer_table(graph, shapes).text();
  Json document = {{"model", graph.source}, {"sha256", graph.sha256}};
  document["input"] = {
      {"name", input.name}, {"shape", input.shape}, {"height", size.height}, {"width", size.width}};
  document["preprocess"] = {{"choice", graph.preprocess ? Json(to_string(*graph.preprocess)) : Json()},
                            {"name", graph.preprocess ? Json(graph.preprocess->name) : Json()},
                            {"reason", graph.preprocess_reason}};
  document["outputs"] = std::move(outputs);
  document["nodes"] = graph.nodes.size();
  document["ops"] = count_ops(graph);
  document["parameters"] = count_parameters(graph);
  document["layers"] = blocks_json(graph, shapes);
  context.out.text(text);
  context.out.json(std::move(document));
}

void run(const Context& context, const Options& o) {
  if (o.what.empty())
    throw InputError("MODEL or RUN is missing: give an .onnx file or a folder that train wrote");
  std::error_code ignored;
  if (std::filesystem::is_directory(o.what, ignored)) {
    summarise_run(o.what, context.out);
  } else {
    inspect_model(context, o);
  }
}

}  // namespace

void add_inspect(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"inspect", "MODEL|RUN", "the layers and branches of a model, or what a run holds",
       R"(For a model: its graph, how pixels are prepared and why, and a table of layers and branches: channels,
their range inside the layer, the kernel, the grid of positions and the SAE width that train uses by
default (16 x channels). For a run: its taps, options and results.)",
       R"(  branchsae inspect googlenet.onnx
  branchsae inspect googlenet.onnx --json
  branchsae inspect runs/first)"},
      [o](const Context& context) { run(context, *o); });
  options.positional("MODEL|RUN", o->what, "an .onnx file, or a folder that `branchsae train` wrote");
  add_preprocess_option(options, o->input);
}

}  // namespace branchsae::apps
