#include <fmt/format.h>

#include <cmath>
#include <map>
#include <optional>

#include "apps/commands/commands.h"
#include "apps/forward_pass.h"
#include "apps/image_list.h"
#include "apps/image_variance.h"
#include "apps/messages.h"
#include "apps/model_input.h"
#include "apps/numbers.h"
#include "apps/output_files.h"
#include "apps/table.h"
#include "engine/error.h"
#include "engine/files.h"
#include "engine/network_checks.h"
#include "engine/npy.h"
#include "engine/taps.h"

namespace branchsae::apps {
namespace {

struct Options {
  std::string model, out;
  std::vector<std::string> images, taps;
  InputOptions input;
  int64_t batch = 32;
  std::string precision = "fp32", conv = "auto";
  bool tokens = false;
};

/// One tap being written.
struct Capture {
  std::string name;                ///< as the user wrote it
  std::string base;                ///< without :INDEX
  std::optional<int64_t> channel;  ///< of TAP:INDEX
  std::string file;
  std::optional<NpyWriter> writer;  ///< made with the first batch, when the grid is known
  Shape row_shape;                  ///< of one image, or of one token
  int64_t rows = 0;
  ImageVariance variance;

  Shape shape() const {
    Shape whole = {rows};
    whole.insert(whole.end(), row_shape.begin(), row_shape.end());
    return whole;
  }
};

Capture resolve(const Graph& graph, const std::string& name) {
  Capture capture;
  capture.name = capture.base = name;
  if (graph.find_value(name) == kNoValue) std::tie(capture.base, capture.channel) = split_tap_index(name);
  const Tap tap = resolve_tap(graph, capture.base);
  if (capture.channel && *capture.channel >= tap.width()) {
    throw InputError(fmt::format("tap {}: there is no channel {}, {} has channels 0 to {}", name,
                                 *capture.channel, capture.base, tap.width() - 1));
  }
  capture.file = tap_file_name(name) + ".npy";
  return capture;
}

std::vector<Capture> resolve_all(const Graph& graph, const std::vector<std::string>& names) {
  if (names.empty()) throw InputError("--tap is missing: name what to capture, such as mixed4c.5x5");
  std::vector<Capture> captures;
  std::map<std::string, std::string> owner;
  for (const std::string& name : names) {
    captures.push_back(resolve(graph, name));
    const auto [entry, is_new] = owner.emplace(captures.back().file, name);
    if (!is_new) {
      throw InputError(fmt::format("taps '{}' and '{}' would share the file {}; leave one out", entry->second,
                                   name, entry->first));
    }
  }
  return captures;
}

void open_writer(Capture& capture, const TapOutput& output, const OutputFolder& folder, bool as_tokens) {
  const int64_t channels = capture.channel ? 1 : output.tokens().shape[1];
  capture.row_shape = {channels};
  if (output.has_grid && !as_tokens) capture.row_shape = {output.height, output.width, channels};
  capture.writer.emplace(folder.path() / capture.file, "<f4", capture.row_shape);
}

void append(Capture& capture, const TapOutput& output, View<const float, 2> tokens, bool as_tokens) {
  if (capture.channel) tokens = tokens.columns(*capture.channel, 1);
  const int64_t images = output.n, positions = output.height * output.width;
  for (int64_t i = 0; i < images; ++i) capture.variance.add(tokens.rows(i * positions, positions));
  std::vector<float> dense(static_cast<size_t>(tokens.size()));
  for (int64_t row = 0; row < tokens.shape[0]; ++row) {
    for (int64_t c = 0; c < tokens.shape[1]; ++c) {
      dense[static_cast<size_t>(row * tokens.shape[1] + c)] = tokens(row, c);
    }
  }
  capture.writer->append({reinterpret_cast<const char*>(dense.data()), dense.size() * sizeof(float)});
  capture.rows += as_tokens || !output.has_grid ? tokens.shape[0] : images;
}

void print(const Context& context, const std::vector<Capture>& captures, const std::string& folder,
           int64_t images, size_t skipped) {
  using enum Table::Align;
  Table table({{"tap"}, {"shape"}, {"between images", kRight}, {"file"}});
  Json taps = Json::array();
  for (const Capture& capture : captures) {
    const double ratio = capture.variance.ratio();
    const Shape shape = capture.shape();
    table.row({capture.name, to_string(shape), std::isnan(ratio) ? "-" : fmt::format("{:.3f}", ratio),
               capture.file});
    taps.push_back(
        {{"tap", capture.name}, {"file", capture.file}, {"shape", shape}, {"variance_over_energy", ratio}});
    if (ratio < ImageVariance::kSuspicious) {
      warning(fmt::format(
          "{}: variance between images is only {:.3f} of the energy; the images are nearly alike, "
          "or --preprocess is not what the model was trained with",
          capture.name, ratio));
    }
  }
  context.out.text(fmt::format("{}\n{} images to {}{}\n", table.text(), with_separators(images), folder,
                               skipped > 0 ? fmt::format(", {} skipped", skipped) : ""));
  context.out.json({{"out", folder}, {"images", images}, {"skipped", skipped}, {"taps", std::move(taps)}});
}

Json record(const Graph& graph, const std::vector<Capture>& captures, const ImageSource& images,
            const std::vector<int64_t>& order, const std::vector<SkippedImage>& skipped, const Options& o) {
  Json document = {
      {"model", graph.source}, {"model_sha256", graph.sha256}, {"precision", o.precision}, {"conv", o.conv}};
  document["preprocess"] = graph.preprocess ? Json(to_string(*graph.preprocess)) : Json();
  document["taps"] = Json::array();
  for (const Capture& capture : captures) {
    document["taps"].push_back({{"tap", capture.name},
                                {"file", capture.file},
                                {"shape", capture.shape()},
                                {"variance_over_energy", capture.variance.ratio()}});
  }
  document["images"] = image_list_json(images, order);
  document["skipped"] = skipped_json(skipped);
  return document;
}

void run(const Context& context, const Options& o) {
  const Graph graph = open_model(o.model, o.input);
  std::vector<Capture> checked = resolve_all(graph, o.taps);
  const auto images = open_image_set(o.images, graph, o.input);
  const Device device = open_device(context.common);
  ForwardOptions forward;
  for (const Capture& capture : checked) forward.taps.push_back(capture.base);
  forward.batch = o.batch;
  forward.max_memory = context.common.max_memory;
  forward.strict = o.input.strict;
  forward.progress = context.common.progress();
  forward.title = "capture";
  forward.precision = parse_precision(o.precision);
  forward.conv = parse_conv_algorithm(o.conv);
  ForwardPass pass(device, graph, *images, forward);
  OutputFolder folder(o.out);
  std::vector<Capture> captures = std::move(checked);  // after the folder: on failure their files go first
  std::vector<int64_t> order;
  const auto skipped = pass.run([&](const ImageBatch& batch) {
    for (size_t i = 0; i < captures.size(); ++i) {
      const TapOutput output = pass.tap(i);
      if (!captures[i].writer) open_writer(captures[i], output, folder, o.tokens);
      append(captures[i], output, pass.host_tokens(i), o.tokens);
    }
    order.insert(order.end(), batch.indices.begin(), batch.indices.begin() + batch.count);
  });
  if (order.empty()) throw InputError("no image could be read");
  for (Capture& capture : captures) {
    folder.file(capture.file);
    capture.writer->finish();
  }
  write_file_atomically(folder.file("names.txt"), image_names_text(*images, order));
  write_file_atomically(folder.file("capture.json"),
                        dump(record(graph, captures, *images, order, skipped, o)));
  folder.commit();
  print(context, captures, o.out, std::ssize(order), skipped.size());
}

}  // namespace

void add_capture(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"capture", "MODEL IMAGES... --tap TAP... --out DIR",
       "write activations of layers, branches or tensors as .npy",
       R"(Runs the network on images and writes what each tap computes to DIR/<tap>.npy: float32 [N, H, W, C],
or [N, C] where there is no grid. DIR/names.txt has the images' order, DIR/capture.json the same with
labels. Prints how much activations differ between images (the variance of the images' means over their
energy) and warns below 0.1, which usually means a wrong input range.

A TAP is a branch (mixed4c.5x5), a whole layer (mixed4d), layers of one grid joined (mixed4a+mixed4b,
mixed4a..mixed4e) or a tensor's ONNX name. TAP:pre is before the ReLU, TAP:7 one channel.)",
       R"(  branchsae capture googlenet.onnx photos/ --tap mixed4c.5x5 --out activations
  branchsae capture googlenet.onnx photos/ --tap mixed4a,mixed4d.5x5:pre --out activations --tokens
  branchsae capture googlenet.onnx pixels.npy --tap loss3/classifier --out logits)"},
      [o](const Context& context) { run(context, *o); });
  options.positional("MODEL", o->model, "an .onnx file");
  options.positionals("IMAGES", o->images,
                      "folders (searched through), images, text lists, .tar shards or .npy arrays");
  options.list("--tap", o->taps, "TAP", "what to capture; several by commas or repeated");
  options.text("--out", o->out, "DIR", "folder to write to; made when missing");
  options.flag("--tokens", o->tokens, "[tokens, channels] instead: a row a position");
  add_preprocess_option(options, o->input);
  add_image_options(options, o->input);
  options.count("--batch", o->batch, 1, 4096, "images a forward pass");
  add_network_precision(options, o->precision);
  add_conv(options, o->conv);
  options.flag("--strict", o->input.strict, "an unreadable image is an error");
}

}  // namespace branchsae::apps
