#include "loader/onnx_loader.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/passes.h"
#include "engine/validate.h"
#include "loader/onnx_file.h"
#include "loader/onnx_import.h"
#include "loader/preprocess_choice.h"
#include "model/inception.h"

namespace branchsae {

namespace {

std::map<std::string, std::string> metadata_of(const ::onnx::ModelProto& model) {
  std::map<std::string, std::string> metadata;
  for (const auto& entry : model.metadata_props()) metadata.emplace(entry.key(), entry.value());
  return metadata;
}

/// What the engine asks of every graph, said with the file's name. Where the file fixes the image size, the
/// shapes at that size are checked, too.
void check_graph(const Graph& graph) {
  try {
    validate(graph);
    const Shape& input = graph.value(graph.input).shape;
    if (input[2] != kDynamic && input[3] != kDynamic) infer_shapes(graph, 1, input[2], input[3]);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", graph.source, error.what()), error.detail());
  }
}

}  // namespace

Graph load_onnx(const std::filesystem::path& path, const LoadOptions& options) {
  const loader::OnnxFile file = loader::read_onnx_file(path, options.max_file_bytes);
  Graph graph = loader::Importer(file, options.max_constant_bytes).run();
  check_graph(graph);
  recognise_blocks(graph);
  choose_preprocess(graph, path, metadata_of(file.model), options.preprocess);
  return graph;
}

}  // namespace branchsae
