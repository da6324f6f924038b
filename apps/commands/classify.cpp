#include <fmt/format.h>

#include <algorithm>

#include "apps/class_names.h"
#include "apps/classifier.h"
#include "apps/commands/commands.h"
#include "apps/forward_pass.h"
#include "apps/messages.h"
#include "apps/model_input.h"
#include "apps/numbers.h"
#include "apps/table.h"
#include "engine/error.h"
#include "engine/network_checks.h"

namespace branchsae::apps {
namespace {

struct Options {
  std::string model;
  std::vector<std::string> images;
  InputOptions input;
  int64_t top = 5, batch = 32;
  std::string precision = "fp32", conv = "auto";
};

struct Prediction {
  int64_t image = 0;
  std::vector<int64_t> classes;
  std::vector<double> probabilities;
  int64_t label = -1;
  int64_t label_rank = -1;  ///< 0: the label is the first guess; -1: not among the first five, or no label
};

struct Score {
  int64_t labelled = 0, top1 = 0, top5 = 0;
  double share(int64_t right) const { return static_cast<double>(right) / static_cast<double>(labelled); }
};

Prediction predict(std::span<const float> scores, int64_t top) {
  const std::vector<double> shares = softmax(scores);
  Prediction prediction;
  prediction.classes = largest(shares, std::max<int64_t>(top, 5));
  for (const int64_t c : prediction.classes)
    prediction.probabilities.push_back(shares[static_cast<size_t>(c)]);
  return prediction;
}

void join_label(Prediction& prediction, int64_t label) {
  prediction.label = label;
  const auto end = prediction.classes.begin() + std::min<int64_t>(5, std::ssize(prediction.classes));
  const auto found = std::find(prediction.classes.begin(), end, label);
  if (label >= 0 && found != end) prediction.label_rank = found - prediction.classes.begin();
}

Score score(const std::vector<Prediction>& predictions) {
  Score total;
  for (const Prediction& prediction : predictions) {
    if (prediction.label < 0) continue;
    ++total.labelled;
    total.top1 += prediction.label_rank == 0 ? 1 : 0;
    total.top5 += prediction.label_rank >= 0 ? 1 : 0;
  }
  return total;
}

std::string class_name(const ClassList* names, int64_t index) {
  return names == nullptr ? "" : names->short_name(index);
}

Json to_json(const Prediction& prediction, const ImageSource& images, const ClassList* names, int64_t top) {
  Json guesses = Json::array();
  for (int64_t i = 0; i < std::min<int64_t>(top, std::ssize(prediction.classes)); ++i) {
    const int64_t c = prediction.classes[static_cast<size_t>(i)];
    Json guess = {{"class", c}, {"probability", prediction.probabilities[static_cast<size_t>(i)]}};
    if (names != nullptr) {
      guess["wordnet_id"] = names->at(c).wordnet_id;
      guess["name"] = names->short_name(c);
    }
    guesses.push_back(std::move(guess));
  }
  Json one = {{"image", images.info(prediction.image).name}, {"index", prediction.image}};
  one["label"] = prediction.label < 0 ? Json() : Json(prediction.label);
  one["predictions"] = std::move(guesses);
  return one;
}

Table to_table(const std::vector<Prediction>& predictions, const ImageSource& images, const ClassList* names,
               int64_t top) {
  Table table(
      {{"image"}, {"probability", Table::Align::kRight}, {"class", Table::Align::kRight}, {"name"}, {""}});
  for (const Prediction& prediction : predictions) {
    for (int64_t i = 0; i < std::min<int64_t>(top, std::ssize(prediction.classes)); ++i) {
      const int64_t c = prediction.classes[static_cast<size_t>(i)];
      table.row({i == 0 ? images.info(prediction.image).name : "",
                 fmt::format("{:.4f}", prediction.probabilities[static_cast<size_t>(i)]), std::to_string(c),
                 class_name(names, c), c == prediction.label ? "(label)" : ""});
    }
  }
  return table;
}

void print(const Context& context, const Options& o, const Graph& graph, const ImageSource& images,
           const ClassScores& scores, const ClassList* names, const std::vector<Prediction>& predictions,
           const std::vector<SkippedImage>& skipped, const std::string& device) {
  const Score total = score(predictions);
  Json document = {{"model", graph.source},
                   {"model_sha256", graph.sha256},
                   {"device", device},
                   {"output", scores.output},
                   {"classes", scores.classes},
                   {"images_read", predictions.size()},
                   {"images_skipped", skipped.size()},
                   {"labelled", total.labelled}};
  document["preprocess"] = graph.preprocess ? Json(to_string(*graph.preprocess)) : Json();
  std::string summary = fmt::format("{} images", with_separators(std::ssize(predictions)));
  if (!skipped.empty()) summary += fmt::format(", {} skipped", skipped.size());
  if (total.labelled > 0) {
    document["top1"] = total.share(total.top1);
    document["top5"] = total.share(total.top5);
    document["top1_right"] = total.top1;
    document["top5_right"] = total.top5;
    summary += fmt::format("; of {} labelled: top1 {:.3f} ({})  top5 {:.3f} ({})", total.labelled,
                           total.share(total.top1), total.top1, total.share(total.top5), total.top5);
  }
  document["images"] = Json::array();
  for (const auto& prediction : predictions)
    document["images"].push_back(to_json(prediction, images, names, o.top));
  document["skipped"] = Json::array();
  for (const auto& one : skipped)
    document["skipped"].push_back({{"image", one.name}, {"reason", one.reason}});
  context.out.json(std::move(document));
  context.out.text(to_table(predictions, images, names, o.top).text() + "\n" + summary + "\n");
}

void run(const Context& context, const Options& o) {
  const Graph graph = open_model(o.model, o.input);
  const ClassScores scores = find_class_scores(graph);
  const auto classes = open_class_list(o.input, graph);
  const auto names = matching_classes(classes, scores, !o.input.classes.empty());
  const auto images = open_image_set(o.images, graph, o.input, classes);
  const Device device = open_device(context.common);
  ForwardOptions forward;
  forward.taps = {scores.name};
  forward.batch = o.batch;
  forward.max_memory = context.common.max_memory;
  forward.strict = o.input.strict;
  forward.progress = context.common.progress();
  forward.title = "classify";
  forward.precision = parse_precision(o.precision);
  forward.conv = parse_conv_algorithm(o.conv);
  ForwardPass pass(device, graph, *images, forward);
  std::vector<Prediction> predictions;
  const auto skipped = pass.run([&](const ImageBatch& batch) {
    const View<const float, 2> rows = pass.host_tokens(0);
    for (int64_t i = 0; i < batch.count; ++i) {
      Prediction one = predict({rows.row(i), static_cast<size_t>(scores.classes)}, o.top);
      one.image = batch.indices[static_cast<size_t>(i)];
      join_label(one, names ? images->info(one.image).label : -1);
      predictions.push_back(std::move(one));
    }
  });
  print(context, o, graph, *images, scores, names.get(), predictions, skipped,
        device.backend().description());
}

}  // namespace

void add_classify(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"classify", "MODEL IMAGES...", "what the network says the images show",
       R"(Runs the network on images and prints the likeliest classes with their probabilities; for labelled
images also the share that the first guess (top1) and the first five (top5) get right. A label is the
folder's or file's WordNet id (n01440764), a class index, or what the list or .cls entry says.)",
       R"(  branchsae classify googlenet.onnx photo.jpg
  branchsae classify googlenet.onnx photos/ --json
  branchsae classify googlenet.onnx 'shards/train-{000..003}.tar' --top 1)"},
      [o](const Context& context) { run(context, *o); });
  options.positional("MODEL", o->model, "an .onnx file");
  options.positionals("IMAGES", o->images,
                      "folders (searched through), images, text lists, .tar shards or .npy arrays");
  options.count("--top", o->top, 1, 1000, "classes printed an image");
  add_preprocess_option(options, o->input);
  add_image_options(options, o->input);
  options.count("--batch", o->batch, 1, 4096, "images a forward pass");
  add_network_precision(options, o->precision);
  add_conv(options, o->conv);
  options.flag("--strict", o->input.strict, "an unreadable image is an error");
}

}  // namespace branchsae::apps
