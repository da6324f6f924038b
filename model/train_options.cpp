#include "model/train_options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/network_checks.h"
#include "model/json.h"
#include "model/sweep.h"

namespace branchsae {
namespace {

using model::Json;
using model::json_field;

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

void check_range(const char* option, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  throw InputError(fmt::format("--{} must be in {}..{}, not {}", option, least, most, value));
}

void check_share(const char* option, double value, double most) {
  if (std::isfinite(value) && value >= 0 && value <= most) return;
  throw InputError(fmt::format("--{} must be in 0..{}, not {}", option, most, value));
}

std::string centre_name(CentreStart centre) {
  return centre == CentreStart::kMean ? "mean" : "geometric-median";
}

CentreStart parse_centre(const std::string& text, const std::string& where) {
  if (text == "mean") return CentreStart::kMean;
  if (text == "geometric-median") return CentreStart::kGeometricMedian;
  throw InputError(
      fmt::format("'{}': no start of b_pre is called '{}'; give mean or geometric-median", where, text));
}

Json sweep_json(const std::vector<SweepMember>& sweep) {
  Json members = Json::array();
  for (const SweepMember& member : sweep) {
    members.push_back({{"name", member.name}, {"set", Json::parse(member.changes)}});
  }
  return members;
}

std::vector<SweepMember> parse_sweep(const Json& members, const std::string& where) {
  std::vector<SweepMember> sweep;
  for (const Json& member : members) {
    sweep.push_back(
        {json_field<std::string>(member, "name", where), json_field<Json>(member, "set", where).dump()});
  }
  return sweep;
}

[[noreturn]] void bad_interval(std::string_view text) {
  throw InputError(
      fmt::format("'{}' is no checkpoint interval; give a number of steps, or 30s, 5min, 1h", text));
}

}  // namespace

CheckpointEvery parse_checkpoint_every(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value) || value < 0 || value > 1e15) bad_interval(text);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (unit.empty()) {
    if (value != std::floor(value) || value < 1) bad_interval(text);
    return {static_cast<int64_t>(value), 0};
  }
  if (unit == "s") return {0, value};
  if (unit == "min") return {0, value * 60};
  if (unit == "h") return {0, value * 3600};
  bad_interval(text);
}

std::string to_string(const CheckpointEvery& every) {
  if (every.steps > 0) return fmt::format("{}", every.steps);
  return fmt::format("{}s", every.seconds);
}

void check_options(const TrainOptions& options) {
  if (options.taps.empty()) throw InputError("--tap is needed: name at least one, such as mixed4c.5x5");
  check_range("k", options.k, 1, kMost);
  check_range("expansion", options.expansion, 1, kMost);
  check_range("tokens", options.tokens, 1, int64_t{1} << 50);
  check_share("epochs", options.epochs, 1e9);
  check_range("batch", options.batch, 1, int64_t{1} << 24);
  check_share("lr", options.learning_rate, 1e3);
  check_share("start-norm", options.start_norm, 1e3);
  check_range("warmup", options.warmup, 0, int64_t{1} << 50);
  check_range("auxk", options.aux_k, 0, kMost);
  check_share("aux-alpha", options.aux_alpha, 1e3);
  check_range("dead-after", options.dead_after, 1, int64_t{1} << 50);
  check_share("holdout", options.holdout, 1);
  check_range("positions-per-image", options.positions_per_image, 0, kMost);
  check_range("buffer-tokens", options.buffer_tokens, 1, int64_t{1} << 30);
  check_range("forward-batch", options.forward_batch, 0, 4096);
  check_range("shuffle-buffer", options.shuffle_buffer, 1, kMost);
  check_range("decode-threads", options.decode_threads, 0, 4096);
  check_range("log-every", options.log_every, 1, int64_t{1} << 50);
  check_range("cache-size", options.cache_size, 0, std::numeric_limits<int64_t>::max());
  check_range("max-memory", options.max_memory, 0, std::numeric_limits<int64_t>::max());
  if (options.cache_precision != CachePrecision::kF32 && options.cache.empty()) {
    throw InputError("--cache-precision bf16 is that of a cache on disk; name its folder with --cache");
  }
  if (options.cache_size > 0 && options.cache.empty())
    throw InputError("--cache-size bounds a cache on disk; name its folder with --cache");
  if (options.augment.any() && !options.cache.empty()) {
    throw InputError(
        fmt::format("--augment {} changes an image's activations from epoch to epoch: leave out --cache",
                    to_string(options.augment)));
  }
  check_sweep(options);
}

std::string to_json(const TrainOptions& options) {
  const Json json{{"tap", options.taps},
                  {"k", options.k},
                  {"expansion", options.expansion},
                  {"tied", options.tied},
                  {"decoder-norm", options.unit_norm ? "unit" : "free"},
                  {"start-norm", options.start_norm},
                  {"centre", centre_name(options.centre)},
                  {"tokens", options.tokens},
                  {"epochs", options.epochs},
                  {"batch", options.batch},
                  {"lr", options.learning_rate},
                  {"warmup", options.warmup},
                  {"lr-schedule", to_string(options.schedule)},
                  {"auxk", options.aux_k},
                  {"aux-alpha", options.aux_alpha},
                  {"dead-after", options.dead_after},
                  {"precision", options.precision ? to_string(*options.precision) : "auto"},
                  {"conv", to_string(options.conv)},
                  {"holdout", options.holdout},
                  {"positions-per-image", options.positions_per_image},
                  {"sample", to_string(options.sample)},
                  {"buffer-tokens", options.buffer_tokens},
                  {"order", to_string(options.order)},
                  {"shuffle-buffer", options.shuffle_buffer},
                  {"augment", to_string(options.augment)},
                  {"forward-batch", options.forward_batch},
                  {"seed", options.seed},
                  {"cache", options.cache.string()},
                  {"cache-precision", to_string(options.cache_precision)},
                  {"cache-size", options.cache_size},
                  {"checkpoint-every", to_string(options.checkpoint_every)},
                  {"log-every", options.log_every},
                  {"log-format", options.tensorboard ? "tensorboard" : "jsonl"},
                  {"plot", options.plot},
                  {"max-memory", options.max_memory},
                  {"decode-threads", options.decode_threads},
                  {"strict", options.strict},
                  {"sweep", sweep_json(options.sweep)}};
  return json.dump();
}

TrainOptions train_options_from_json(const std::string& text, const std::string& where) {
  const Json json = model::parse_json(text, where);
  TrainOptions options;
  const auto integer = [&](const char* field) { return json_field<int64_t>(json, field, where); };
  const auto real = [&](const char* field) { return json_field<double>(json, field, where); };
  const auto string = [&](const char* field) { return json_field<std::string>(json, field, where); };
  options.taps = json_field<std::vector<std::string>>(json, "tap", where);
  options.k = integer("k");
  options.expansion = integer("expansion");
  options.tied = json_field<bool>(json, "tied", where);
  options.unit_norm = string("decoder-norm") == "unit";
  options.start_norm = real("start-norm");
  options.centre = parse_centre(string("centre"), where);
  options.tokens = integer("tokens");
  options.epochs = real("epochs");
  options.batch = integer("batch");
  options.learning_rate = real("lr");
  options.warmup = integer("warmup");
  options.schedule = parse_lr_schedule(string("lr-schedule"));
  options.aux_k = integer("auxk");
  options.aux_alpha = real("aux-alpha");
  options.dead_after = integer("dead-after");
  // Runs that an earlier version began have none: they are in fp32.
  const std::string precision = json.contains("precision") ? string("precision") : "fp32";
  if (precision != "auto") options.precision = parse_sae_precision(precision);
  options.holdout = real("holdout");
  options.positions_per_image = integer("positions-per-image");
  options.buffer_tokens = integer("buffer-tokens");
  options.forward_batch = integer("forward-batch");
  options.seed = json_field<uint64_t>(json, "seed", where);
  options.checkpoint_every = parse_checkpoint_every(string("checkpoint-every"));
  options.log_every = integer("log-every");
  // Runs that an earlier version began have neither.
  options.tensorboard = json.contains("log-format") && string("log-format") == "tensorboard";
  options.plot = json.contains("plot") && json_field<bool>(json, "plot", where);
  options.max_memory = integer("max-memory");
  // Earlier versions had none of these; they drew every order at random.
  options.order = json.contains("order") ? parse_image_order(string("order")) : ImageOrder::kRandom;
  if (json.contains("shuffle-buffer")) options.shuffle_buffer = integer("shuffle-buffer");
  if (json.contains("augment")) options.augment = parse_augment(string("augment"));
  if (json.contains("decode-threads")) options.decode_threads = integer("decode-threads");
  if (json.contains("conv")) options.conv = parse_conv_algorithm(string("conv"));
  if (json.contains("sample")) options.sample = parse_token_sampling(string("sample"));
  if (json.contains("cache")) {
    options.cache = string("cache");
    options.cache_precision = parse_cache_precision(string("cache-precision"));
    options.cache_size = integer("cache-size");
  }
  options.strict = json_field<bool>(json, "strict", where);
  if (json.contains("sweep")) options.sweep = parse_sweep(json.at("sweep"), where);
  return options;
}

}  // namespace branchsae
