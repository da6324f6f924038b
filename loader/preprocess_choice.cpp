#include "loader/preprocess_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/error.h"
#include "engine/files.h"

namespace branchsae {
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

constexpr int64_t kMaxJsonBytes = int64_t{1} << 20;
constexpr int64_t kLucidMixed4a = 508;  // its 3x3 branch has 204 channels instead of BVLC's 208
constexpr int64_t kImageNetClasses = 1000;

struct Choice {
  Preprocess preprocess;
  std::string reason;
};

// ---- the file beside the model

std::string number_text(const Json& value, const std::string& where) {
  if (value.is_number()) return fmt::format("{}", value.get<float>());
  throw InputError(fmt::format("{}: {} is not a number", where, value.dump()));
}

/// One number or three, as parse_preprocess() writes them.
std::string triple_text(const Json& object, const char* key, const char* fallback, const std::string& where) {
  if (!object.contains(key)) return fallback;
  const Json& value = object[key];
  if (!value.is_array()) return number_text(value, where);
  std::vector<std::string> numbers;
  for (const Json& number : value) numbers.push_back(number_text(number, where));
  return fmt::format("{}", fmt::join(numbers, "/"));
}

std::string object_text(const Json& object, const std::string& where) {
  for (const auto& [key, value] : object.items()) {
    if (key == "mean" || key == "std" || key == "order" || key == "range") continue;
    throw InputError(fmt::format(
        "{}: 'preprocess' has the unknown key '{}'; known are mean, std, order, range", where, key));
  }
  if (!object.contains("mean")) throw InputError(fmt::format("{}: 'preprocess' has no key 'mean'", where));
  std::string order = "RGB";
  if (object.contains("order")) {
    if (!object["order"].is_string()) throw InputError(fmt::format("{}: 'order' is not RGB or BGR", where));
    order = object["order"].get<std::string>();
  }
  const std::string range = object.contains("range") ? number_text(object["range"], where) : "255";
  return fmt::format("{},{},{},{}", triple_text(object, "mean", "0", where),
                     triple_text(object, "std", "1", where), order, range);
}

Json read_json(const fs::path& path) {
  const std::string text = read_file(path, kMaxJsonBytes);
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw InputError(fmt::format("{}: is not valid JSON at byte {}", path.string(), error.byte));
  }
}

/// Names the source of a text that parse_preprocess() does not take.
Preprocess parse_from(const std::string& text, const std::string& where) {
  try {
    return parse_preprocess(text);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", where, error.what()));
  }
}

std::optional<Choice> from_json_file(const fs::path& model) {
  for (const fs::path& path :
       {fs::path(model.string() + ".json"), fs::path(model).replace_extension(".json")}) {
    std::error_code error;
    if (path == model || !fs::is_regular_file(path, error)) continue;
    const Json json = read_json(path);
    if (!json.is_object() || !json.contains("preprocess")) continue;
    const Json& said = json["preprocess"];
    if (!said.is_string() && !said.is_object()) {
      throw InputError(fmt::format("{}: 'preprocess' is neither a text nor an object", path.string()));
    }
    const std::string text = said.is_string() ? said.get<std::string>() : object_text(said, path.string());
    return Choice{parse_from(text, path.string()), fmt::format("{} says so", path.filename().string())};
  }
  return std::nullopt;
}

std::optional<Choice> from_metadata(const fs::path& model,
                                    const std::map<std::string, std::string>& metadata) {
  for (const char* key : {"branchsae.preprocess", "preprocess"}) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) continue;
    const std::string where = fmt::format("{}: ONNX property '{}'", model.string(), key);
    return Choice{parse_from(found->second, where),
                  fmt::format("the model's ONNX property '{}' says so", key)};
  }
  return std::nullopt;
}

// ---- the graph

bool has_lrn(const Graph& graph) {
  return std::ranges::any_of(graph.nodes,
                             [](const Node& node) { return std::holds_alternative<LrnOp>(node.op); });
}

bool has_bvlc_names(const Graph& graph) {
  return std::ranges::any_of(graph.values,
                             [](const Value& value) { return value.name.starts_with("inception_4c/5x5"); });
}

bool has_outputs(const Graph& graph, int64_t classes) {
  return std::ranges::any_of(graph.outputs, [&](ValueId id) {
    const Shape& shape = graph.value(id).shape;
    return shape.size() >= 2 && shape[1] == classes;
  });
}

bool is_lucid(const Graph& graph) {
  const auto block = std::ranges::find(graph.blocks, "mixed4a", &Block::name);
  return block != graph.blocks.end() && block->branches.back().end == kLucidMixed4a;
}

std::optional<Choice> from_graph(const Graph& graph) {
  const Shape& input = graph.value(graph.input).shape;
  if (input.size() != 4 || input[1] != 3) return std::nullopt;
  if (has_bvlc_names(graph)) return Choice{caffe_preprocess(), "its tensors have BVLC's names"};
  if (is_lucid(graph)) {
    return Choice{lucid_preprocess(),
                  fmt::format("mixed4a has {} channels, as lucid's inception5h", kLucidMixed4a)};
  }
  if (has_lrn(graph) && has_outputs(graph, kImageNetClasses)) {
    return Choice{caffe_preprocess(), fmt::format("it has LRN and {} outputs", kImageNetClasses)};
  }
  if (!has_lrn(graph) && !graph.blocks.empty()) {
    return Choice{torchvision_preprocess(), "it has inception blocks and no LRN"};
  }
  return std::nullopt;
}

std::string undecided_reason(const fs::path& model) {
  return fmt::format(
      "neither {}, ONNX properties nor the graph tell how pixels become the input; give --preprocess "
      "caffe, lucid, torchvision or MEAN,STD,ORDER,RANGE",
      model.filename().string() + ".json");
}

}  // namespace

void choose_preprocess(Graph& graph, const fs::path& model,
                       const std::map<std::string, std::string>& metadata, const std::string& option) {
  std::optional<Choice> choice;
  if (!option.empty()) choice = Choice{parse_preprocess(option), "given by --preprocess"};
  if (!choice) choice = from_json_file(model);
  if (!choice) choice = from_metadata(model, metadata);
  if (!choice) choice = from_graph(graph);
  if (choice) {
    graph.preprocess = choice->preprocess;
    graph.preprocess_reason = choice->reason;
  } else {
    graph.preprocess.reset();
    graph.preprocess_reason = undecided_reason(model);
  }
}

}  // namespace branchsae
