#include <fmt/format.h>

#include "apps/commands/commands.h"
#include "apps/forward_pass.h"
#include "apps/image_list.h"
#include "apps/messages.h"
#include "apps/numbers.h"
#include "apps/output_files.h"
#include "apps/run_input.h"
#include "apps/table.h"
#include "engine/error.h"
#include "engine/files.h"
#include "engine/npy.h"
#include "engine/passes.h"
#include "model/precision.h"

namespace branchsae::apps {
namespace {

struct Options {
  RunArguments run;
  std::string out;
  int64_t k = 0, batch = 32;
  std::string conv = "trained";
};

/// One tap's autoencoder and its two files.
class TapEncoder {
 public:
  TapEncoder(const Device& device, const SaeFile& sae, const RunTap& tap, int64_t k, int64_t max_tokens,
             SaePrecision precision, const std::filesystem::path& folder)
      : device_(device),
        tap_(tap),
        k_(k),
        executor_(make_executor(device, sae, max_tokens, precision)),
        values_(device.backend().buffer<float>(max_tokens * k, "encoded values")),
        indices_(device.backend().buffer<int32_t>(max_tokens * k, "encoded indices")),
        value_file_(folder / (tap.folder + ".values.npy"), "<f4", {k}),
        index_file_(folder / (tap.folder + ".indices.npy"), "<i4", {k}) {}

  void encode(Stream& stream, View<const float, 2> tokens) {
    const int64_t rows = tokens.shape[0];
    executor_->encode(stream, tokens, values_.matrix(rows, k_), indices_.matrix(rows, k_));
    append(stream, value_file_, values_.data(), rows);
    append(stream, index_file_, indices_.data(), rows);
    rows_ += rows;
  }

  std::vector<std::string> files() const {
    return {tap_.folder + ".values.npy", tap_.folder + ".indices.npy"};
  }
  void finish() {
    value_file_.finish();
    index_file_.finish();
  }
  int64_t rows() const { return rows_; }
  int64_t k() const { return k_; }
  const RunTap& tap() const { return tap_; }

 private:
  /// Both kinds of element have four bytes.
  void append(Stream& stream, NpyWriter& file, const void* data, int64_t rows) {
    host_.resize(static_cast<size_t>(rows * k_ * 4));
    device_.backend().copy_to_host(stream, host_.data(), data, std::ssize(host_));
    stream.synchronize();
    file.append(host_);
  }

  Device device_;
  RunTap tap_;
  int64_t k_, rows_ = 0;
  std::unique_ptr<SaeExecutor> executor_;
  DeviceBuffer<float> values_;
  DeviceBuffer<int32_t> indices_;
  NpyWriter value_file_, index_file_;
  std::vector<char> host_;
};

int64_t tokens_per_batch(const Program& program, const Graph& graph, const Tap& tap) {
  const auto shapes = infer_shapes(graph, program.max_batch(), program.height(), program.width());
  const Shape& shape = shapes[static_cast<size_t>(tap.parts.front().value)];
  return shape.size() == 4 ? shape[0] * shape[2] * shape[3] : shape[0];
}

void check_k(const std::vector<SaeFile>& saes, int64_t k) {
  for (const SaeFile& sae : saes) {
    if (k <= sae.spec.n) continue;
    throw InputError(fmt::format("--k {} is more than the {} latents of {}", k, sae.spec.n, sae.tap));
  }
}

void print(const Context& context, const std::vector<TapEncoder>& encoders, const std::string& folder,
           int64_t images, size_t skipped) {
  using enum Table::Align;
  Table table({{"tap"}, {"tokens", kRight}, {"k", kRight}, {"files"}});
  Json taps = Json::array();
  for (const TapEncoder& encoder : encoders) {
    const auto files = encoder.files();
    table.row({encoder.tap().name, with_separators(encoder.rows()), std::to_string(encoder.k()),
               files[0] + ", " + files[1]});
    taps.push_back({{"tap", encoder.tap().name},
                    {"tokens", encoder.rows()},
                    {"k", encoder.k()},
                    {"values", files[0]},
                    {"indices", files[1]}});
  }
  context.out.text(fmt::format("{}\n{} images to {}{}\n", table.text(), with_separators(images), folder,
                               skipped > 0 ? fmt::format(", {} skipped", skipped) : ""));
  context.out.json({{"out", folder}, {"images", images}, {"skipped", skipped}, {"taps", std::move(taps)}});
}

Json record(const OpenedRun& opened, const std::vector<TapEncoder>& encoders,
            const std::vector<int64_t>& order, const std::vector<SkippedImage>& skipped) {
  Json document = {
      {"run", opened.folder.string()}, {"model_sha256", opened.graph.sha256}, {"taps", Json::array()}};
  for (const TapEncoder& encoder : encoders) {
    document["taps"].push_back({{"tap", encoder.tap().name},
                                {"k", encoder.k()},
                                {"n", encoder.tap().n},
                                {"tokens", encoder.rows()},
                                {"tokens_per_image", encoder.rows() / std::ssize(order)}});
  }
  document["images"] = image_list_json(*opened.images, order);
  document["skipped"] = skipped_json(skipped);
  return document;
}

void run(const Context& context, const Options& o) {
  const OpenedRun opened = open_run(o.run);
  const std::vector<SaeFile> saes = load_saes(opened);
  check_k(saes, o.k);
  const Device device = open_device(context.common);
  const SaePrecision precision = offered_precision(device.backend(), opened.info.options.precision);
  ForwardOptions forward;
  forward.precision = network_precision(precision);
  forward.conv = conv_of_run(o.conv, opened.info.options.conv);
  for (const RunTap& tap : opened.taps) forward.taps.push_back(tap.name);
  forward.batch = o.batch;
  forward.max_memory = context.common.max_memory;
  forward.strict = o.run.strict;
  forward.progress = context.common.progress();
  forward.title = "encode";
  ForwardPass pass(device, opened.graph, *opened.images, forward);
  OutputFolder folder(o.out);
  std::vector<TapEncoder> encoders;  // after the folder: on failure their files go first
  for (size_t i = 0; i < saes.size(); ++i) {
    const int64_t most = tokens_per_batch(pass.program(), opened.graph, pass.program().taps()[i]);
    encoders.emplace_back(device, saes[i], opened.taps[i], o.k > 0 ? o.k : saes[i].spec.k, most, precision,
                          folder.path());
  }
  std::vector<int64_t> order;
  const auto skipped = pass.run([&](const ImageBatch& batch) {
    for (size_t i = 0; i < encoders.size(); ++i) encoders[i].encode(pass.stream(), pass.tap(i).tokens());
    order.insert(order.end(), batch.indices.begin(), batch.indices.begin() + batch.count);
  });
  if (order.empty()) throw InputError("no image could be read");
  for (TapEncoder& encoder : encoders) {
    for (const std::string& file : encoder.files()) folder.file(file);
    encoder.finish();
  }
  write_file_atomically(folder.file("names.txt"), image_names_text(*opened.images, order));
  write_file_atomically(folder.file("encode.json"), dump(record(opened, encoders, order, skipped)));
  folder.commit();
  print(context, encoders, o.out, std::ssize(order), skipped.size());
}

}  // namespace

void add_encode(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"encode", "RUN [IMAGES...] --out DIR", "write the active latents of every position as .npy",
       R"(Runs images through the network and the run's autoencoders and writes, for each tap, which latents are
active at every position: DIR/<tap>.indices.npy (int32 [tokens, k], ascending, -1 where fewer are
active) and DIR/<tap>.values.npy (float32 [tokens, k], in the autoencoder's scaled units). Position y, x
of image i is token (i * H + y) * W + x; DIR/encode.json and DIR/names.txt have the images' order.)",
       R"(  branchsae encode runs/first photos/ --out encoded
  branchsae encode runs/first --tap mixed4c.5x5 --out encoded)"},
      [o](const Context& context) { run(context, *o); });
  add_run_arguments(options, o->run);
  options.text("--out", o->out, "DIR", "folder to write to; made when missing");
  options.count("--k", o->k, 0, INT32_MAX, "latents kept a token; 0: as trained");
  options.count("--batch", o->batch, 1, 4096, "images a forward pass");
  add_conv_of_run(options, o->conv);
  options.flag("--strict", o->run.strict, "an unreadable image is an error");
}

}  // namespace branchsae::apps
