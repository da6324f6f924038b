#include "apps/model_input.h"

#include <fmt/format.h>

#include <filesystem>

#include "apps/messages.h"
#include "engine/error.h"
#include "loader/image_source.h"
#include "loader/onnx_loader.h"

namespace branchsae::apps {
namespace {

constexpr int64_t kUsualSize = 224, kUsualResize = 256;

/// At commas that stand outside braces: "a-{0,1}.tar,b" has two parts.
std::vector<std::string> split_spec(const std::string& spec) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : spec) {
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (c == ',' && depth <= 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace

void add_preprocess_option(OptionSet& options, InputOptions& input) {
  options.text("--preprocess", input.preprocess, "HOW",
               "caffe, lucid, torchvision or MEAN,STD,ORDER,RANGE; else chosen from the model");
}

void add_image_options(OptionSet& options, InputOptions& input) {
  options.text("--classes", input.classes, "FILE",
               "what the classes are called (index, WordNet id, names, by tabs); else imagenet_classes.tsv "
               "beside the model, else the built-in list");
  options.count("--crop", input.crop, 0, 1 << 14,
                "side of the centre crop; 0: what the model takes, else 224");
  options.count("--resize", input.resize, 0, 1 << 14, "short side before cropping; 0: 256 for a crop of 224");
}

std::string describe(const Preprocess& preprocess) {
  const std::string form = to_string(preprocess);
  return preprocess.name == form ? form : fmt::format("{} ({})", preprocess.name, form);
}

Graph open_model(const std::string& path, const InputOptions& input) {
  if (path.empty()) throw InputError("MODEL is missing: give the path of an .onnx file");
  LoadOptions options;
  options.preprocess = input.preprocess;
  Graph graph = load_onnx(path, options);
  const std::string choice = graph.preprocess ? describe(*graph.preprocess) : "undecided";
  info(fmt::format("preprocessing: {}: {}", choice, graph.preprocess_reason));
  return graph;
}

InputSize fixed_input_size(const Graph& graph) {
  const Shape& shape = graph.value(graph.input).shape;
  if (shape.size() != 4) return {};
  return {std::max<int64_t>(shape[2], 0), std::max<int64_t>(shape[3], 0)};
}

InputSize used_input_size(const Graph& graph) {
  InputSize size = fixed_input_size(graph);
  if (size.height == 0) size.height = size.width > 0 ? size.width : kUsualSize;
  if (size.width == 0) size.width = size.height;
  return size;
}

std::shared_ptr<const ClassList> open_class_list(const InputOptions& input, const Graph& graph) {
  std::optional<std::filesystem::path> file;
  if (!input.classes.empty()) file = input.classes;
  return choose_class_list(file, graph.source);
}

std::unique_ptr<ImageSource> open_image_set(const std::vector<std::string>& specs, const Graph& graph,
                                            const InputOptions& input,
                                            std::shared_ptr<const ClassList> classes) {
  if (specs.empty()) {
    throw InputError("IMAGES is missing: give a folder, an image, a text list, .tar shards or an .npy array");
  }
  ImageOptions options;
  options.crop = input.crop > 0 ? input.crop : used_input_size(graph).height;
  options.resize =
      input.resize > 0 ? input.resize : (options.crop * kUsualResize + kUsualSize / 2) / kUsualSize;
  if (options.resize < options.crop) {
    throw InputError(fmt::format("--resize {} is smaller than the crop of {}", options.resize, options.crop));
  }
  options.classes = classes ? std::move(classes) : open_class_list(input, graph);
  options.strict = input.strict;
  options.refuse_unknown = input.refuse_unknown;
  auto images = open_images(specs, options);
  if (images->format() == PixelFormat::kU8Rgb && !graph.preprocess) {
    throw InputError(
        fmt::format("how to prepare pixels for {} is undecided ({}); give --preprocess caffe, lucid, "
                    "torchvision or MEAN,STD,ORDER,RANGE",
                    graph.source, graph.preprocess_reason));
  }
  return images;
}

std::vector<std::string> absolute_specs(const std::vector<std::string>& specs) {
  namespace fs = std::filesystem;
  std::vector<std::string> absolute;
  for (const std::string& spec : specs) {
    std::error_code ignored;
    if (fs::exists(spec, ignored)) {
      absolute.push_back(fs::absolute(spec).lexically_normal().string());
      continue;
    }
    for (const std::string& part : split_spec(spec)) {
      absolute.push_back(fs::absolute(part).lexically_normal().string());
    }
  }
  return absolute;
}

}  // namespace branchsae::apps
