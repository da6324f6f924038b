// Speed of a whole training job, from image files to autoencoders on the disk, and where its time goes. First
// a short job is run twice and must give the same bytes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bench/meter.h"
#include "bench/scratch.h"
#include "cpu/waiting.h"
#include "engine/error.h"
#include "engine/files.h"
#include "loader/image_source.h"
#include "loader/onnx_loader.h"
#include "loader/preprocess_choice.h"
#include "loader/synthetic.h"
#include "model/train.h"

using namespace branchsae;
namespace fs = std::filesystem;

namespace {

struct Options {
  bench::MeterOptions meter;
  std::string model, precision = "auto";
  std::vector<std::string> images;
  std::vector<std::string> taps{"mixed4a.5x5", "mixed4b.5x5", "mixed4c.5x5", "mixed4d.5x5", "mixed4e.5x5"};
  int64_t tokens = 0, batch = 4096, forward_batch = 0, buffer_tokens = 131'072, k = 32, pictures = 512;
};

TrainOptions train_options(const Options& o, const fs::path& out, int64_t tokens) {
  TrainOptions options;
  options.taps = o.taps;
  options.out = out;
  options.k = o.k;
  options.tokens = tokens;
  options.batch = o.batch;
  options.buffer_tokens = o.buffer_tokens;
  options.forward_batch = o.forward_batch;
  options.checkpoint_every = {0, 0};
  if (o.precision != "auto") options.precision = parse_sae_precision(o.precision);
  return options;
}

/// Two short jobs; throws Error unless they leave the same autoencoders.
void check_repeats(const Options& o, const bench::Meter& meter, const Graph& graph, const ImageSource& images,
                   const fs::path& scratch) {
  std::vector<std::string> hashes[2];
  for (const size_t attempt : {0, 1}) {
    TrainOptions options = train_options(o, scratch / fmt::format("check{}", attempt), 4 * o.batch);
    options.buffer_tokens = options.tokens;
    options.holdout = 0;
    const TrainResult result = train(meter.device(), graph, images, options, {});
    for (const TapResult& tap : result.taps)
      hashes[attempt].push_back(sha256_of_file(sae_path(options.out, tap.tap)));
  }
  if (hashes[0] != hashes[1]) throw Error("two jobs of one seed left different autoencoders");
}

/// How fast images can be decoded alone.
double decode_rate(const bench::Meter& meter, const ImageSource& images) {
  int64_t next = 0, read = 0;
  ImageReader::Options options;
  options.threads = meter.device().backend().threads();
  const int64_t count = std::min<int64_t>(images.size(), 2048);
  const double begin = bench::wall_s();
  ImageReader reader(
      images, [&] { return next < count ? next++ : int64_t{-1}; }, options);
  for (ImageBatch batch; reader.next(batch);) read += batch.count;
  return static_cast<double>(read) / (bench::wall_s() - begin);
}

nlohmann::json fields(const Options& o, const bench::Meter& meter, const TrainResult& result,
                      double decoded) {
  const auto taps = static_cast<double>(result.taps.size()), tokens = static_cast<double>(result.tokens);
  nlohmann::json json{{"case", "train"},
                      {"taps", o.taps},
                      {"precision", to_string(result.taps.front().config.precision)},
                      {"batch", o.batch},
                      {"steps", result.step},
                      {"tokens_per_tap", result.tokens},
                      {"tokens_per_s", taps * tokens / result.seconds_total},
                      {"tokens_per_s_training", taps * tokens / result.seconds_training},
                      {"seconds",
                       {{"reading", result.seconds_reading},
                        {"training", result.seconds_training},
                        {"evaluating", result.seconds_evaluating},
                        {"total", result.seconds_total}}},
                      {"forward_images", result.forward_images},
                      {"forward_images_per_s", static_cast<double>(result.forward_images) /
                                                   (result.seconds_reading + result.seconds_evaluating)},
                      {"decode_images_per_s", decoded},
                      {"fvu", nlohmann::json::object()}};
  for (const TapResult& tap : result.taps) {
    if (tap.held_out) json["fvu"][tap.tap.name] = tap.held_out->fvu;
  }
  json.update(bench::device_fields(meter));
  return json;
}

void print_result(const nlohmann::json& r) {
  const auto number = [](const nlohmann::json& value) { return value.get<double>(); };
  const auto& s = r["seconds"];
  fmt::print("{}\n{} taps, {} tokens each: {:.0f} tokens/s in all, {:.0f} while training\n",
             r["device"].get<std::string>(), r["taps"].size(), r["tokens_per_tap"].get<int64_t>(),
             number(r["tokens_per_s"]), number(r["tokens_per_s_training"]));
  fmt::print("{:.2f} s: reading and forward {:.2f}, training {:.2f}, evaluating {:.2f}\n", number(s["total"]),
             number(s["reading"]), number(s["training"]), number(s["evaluating"]));
  fmt::print("{} images run, {:.1f}/s; decoding alone {:.1f}/s\n", r["forward_images"].get<int64_t>(),
             number(r["forward_images_per_s"]), number(r["decode_images_per_s"]));
}

void run_all(Options o) {
  const bench::Meter meter(o.meter);
  if (o.meter.cpu_clock) throw InputError("a job's parts are timed by the wall clock; leave out --cpu-clock");
  const bench::Scratch scratch;
  Graph graph = load_onnx(o.model);
  if (o.images.empty()) {
    o.images = {(scratch.path() / "images").string()};
    write_synthetic_images(o.images.front(), {.count = o.pictures});
  }
  const auto images = open_images(o.images);
  check_repeats(o, meter, graph, *images, scratch.path());
  const int64_t tokens = o.tokens > 0 ? o.tokens : meter.on_host() ? 65'536 : 4'000'000;
  const TrainResult result =
      train(meter.device(), graph, *images, train_options(o, scratch.path() / "run", tokens), {});
  const nlohmann::json json = fields(o, meter, result, decode_rate(meter, *images));
  if (o.meter.json) {
    fmt::print("{}\n", json.dump());
  } else {
    print_result(json);
  }
}

}  // namespace

int main(int argc, char** argv) {
  cpu::wait_briefly(argv);
  Options options;
  CLI::App app(
      "A whole training job: checked, then timed.\n"
      "Example: bench_train googlenet.onnx photos/ --tap mixed4c.5x5 --tokens 200000");
  app.add_option("model", options.model, "ONNX file")->required();
  app.add_option("images", options.images, "as for branchsae train; none: drawn ones");
  app.add_option("--tap", options.taps, "what to train on; else the 5x5 branches of mixed4a to 4e")
      ->delimiter(',');
  app.add_option("--tokens", options.tokens, "a tap; 0: 65,536, on a GPU 4,000,000");
  app.add_option("--batch", options.batch, "tokens a step")->capture_default_str();
  app.add_option("--buffer-tokens", options.buffer_tokens, "tokens a tap shuffled together")
      ->capture_default_str();
  app.add_option("--forward-batch", options.forward_batch, "images a forward pass; 0: as branchsae train");
  app.add_option("--k", options.k, "latents kept per token")->capture_default_str();
  app.add_option("--pictures", options.pictures, "how many are drawn when none are given")
      ->capture_default_str();
  app.add_option("--precision", options.precision, "fp32, tf32, bf16, or auto: the device's usual one")
      ->check(CLI::IsMember({"auto", "fp32", "tf32", "bf16"}));
  bench::add_meter_options(app, options.meter);
  CLI11_PARSE(app, argc, argv);
  return bench::run_bench("bench_train", [&] { run_all(options); });
}
