#include "apps/training_options.h"

#include <fmt/format.h>

#include "apps/numbers.h"
#include "engine/error.h"
#include "engine/network_checks.h"

namespace branchsae::apps {
namespace {

/// An option whose text `read` turns into the field, throwing InputError.
void add_read(OptionSet& options, const std::string& name, const std::string& type,
              const std::string& shown_default, const std::string& help,
              std::function<void(const std::string&)> read, std::function<Json()> get) {
  OptionSet::Entry entry{name, type, help, shown_default, {}, std::move(get), false};
  entry.set = [read](const std::vector<std::string>& values) { read(values.back()); };
  options.custom(std::move(entry));
}

/// A number above 0, or "auto", which the library knows as 0.
void add_auto_or_real(OptionSet& options, const std::string& name, double& target, const std::string& help) {
  const auto read = [&target](const std::string& text) {
    const auto value = text == "auto" ? std::optional<double>(0.0) : parse_real(text);
    if (!value || (text != "auto" && !(*value > 0)) || *value > 1e3) {
      throw InputError("must be auto or a number above 0 and up to 1000, not '" + text + "'");
    }
    target = *value;
  };
  add_read(options, name, "auto|X", "auto", help, read,
           [&target] { return target == 0 ? Json("auto") : Json(target); });
}

void add_positions(OptionSet& options, int64_t& target) {
  const auto read = [&target](const std::string& text) {
    const auto value = text == "all" ? std::optional<int64_t>(0) : parse_count(text);
    if (!value || (text != "all" && *value < 1)) {
      throw InputError("must be all or a whole number of at least 1, not '" + text + "'");
    }
    target = *value;
  };
  add_read(options, "--positions-per-image", "all|N", "all",
           "positions of an image that train, drawn anew each epoch", read,
           [&target] { return target == 0 ? Json("all") : Json(target); });
}

void add_epochs(OptionSet& options, double& target) {
  const auto read = [&target](const std::string& text) {
    const auto value = parse_real(text);
    if (!value || !(*value > 0) || *value > 1e9)
      throw InputError("must be a number above 0 and up to 1e9, not '" + text + "'");
    target = *value;
  };
  add_read(options, "--epochs", "X", "", "passes over the training images, instead of --tokens", read,
           [&target] { return Json(target); });
}

void add_forward_batch(OptionSet& options, int64_t& target) {
  const auto read = [&target](const std::string& text) {
    const auto value = text == "auto" ? std::optional<int64_t>(0) : parse_count(text);
    if (!value || (text != "auto" && *value < 1) || *value > 4096) {
      throw InputError("must be auto or a whole number from 1 to 4096, not '" + text + "'");
    }
    target = *value;
  };
  add_read(
      options, "--forward-batch", "auto|N", "auto",
      fmt::format("images a forward pass; auto: {}, on a GPU {}", kHostForwardBatch, kDeviceForwardBatch),
      read, [&target] { return target == 0 ? Json("auto") : Json(target); });
}

void add_names(OptionSet& options, TrainOptions& train) {
  add_read(
      options, "--lr-schedule", "linear|cosine|constant", to_string(train.schedule),
      "linear: constant, then falling over the last fifth",
      [&train](const std::string& text) {
        if (text != "linear" && text != "cosine" && text != "constant") {
          throw InputError("must be linear, cosine or constant, not '" + text + "'");
        }
        train.schedule = parse_lr_schedule(text);
      },
      [&train] { return Json(to_string(train.schedule)); });
  add_read(
      options, "--decoder-norm", "free|unit", "free", "unit: decoder rows are kept at norm 1",
      [&train](const std::string& text) {
        if (text != "free" && text != "unit") throw InputError("must be free or unit, not '" + text + "'");
        train.unit_norm = text == "unit";
      },
      [&train] { return Json(train.unit_norm ? "unit" : "free"); });
  add_read(
      options, "--centre", "mean|geometric-median", "mean", "of the tokens: where b_pre starts",
      [&train](const std::string& text) {
        if (text != "mean" && text != "geometric-median") {
          throw InputError("must be mean or geometric-median, not '" + text + "'");
        }
        train.centre = text == "mean" ? CentreStart::kMean : CentreStart::kGeometricMedian;
      },
      [&train] { return Json(train.centre == CentreStart::kMean ? "mean" : "geometric-median"); });
}

void add_precision(OptionSet& options, std::optional<SaePrecision>& target) {
  const auto read = [&target](const std::string& text) {
    if (text != "fp32" && text != "tf32" && text != "bf16") {
      throw InputError("must be fp32, tf32 or bf16, not '" + text + "'");
    }
    target = parse_sae_precision(text);
  };
  add_read(options, "--precision", "fp32|tf32|bf16", "fp32, on a GPU bf16",
           "of the products, also the network's; weights, sums and Adam stay fp32", read,
           [&target] { return target ? Json(to_string(*target)) : Json("auto"); });
}

void add_network_conv(OptionSet& options, ConvAlgorithm& target) {
  add_read(
      options, "--conv", "auto|direct", to_string(target),
      "of the network; direct: no Winograd, slower on a CPU",
      [&target](const std::string& text) { target = parse_conv_algorithm(text); },
      [&target] { return Json(to_string(target)); });
}

void add_sampling(OptionSet& options, TokenSampling& target) {
  add_read(
      options, "--sample", "uniform|norm", to_string(target),
      "norm: a position is as likely as its token is long",
      [&target](const std::string& text) {
        if (text != "uniform" && text != "norm") {
          throw InputError("must be uniform or norm, not '" + text + "'");
        }
        target = parse_token_sampling(text);
      },
      [&target] { return Json(to_string(target)); });
}

void add_order(OptionSet& options, TrainOptions& train) {
  add_read(
      options, "--order", "auto|random|shards", "auto",
      "of the images; shards: shard after shard through a buffer; auto: so for two tar shards or more",
      [&train](const std::string& text) {
        if (text != "auto" && text != "random" && text != "shards") {
          throw InputError("must be auto, random or shards, not '" + text + "'");
        }
        train.order = parse_image_order(text);
      },
      [&train] { return Json(to_string(train.order)); });
  options.count("--shuffle-buffer", train.shuffle_buffer, 1, (int64_t{1} << 31) - 1,
                "images among which --order shards draws");
}

void add_augment(OptionSet& options, Augment& target) {
  add_read(
      options, "--augment", "none|flip|crop|flip,crop", "none",
      "training images are mirrored at random, cut at a random place of the resized photo",
      [&target](const std::string& text) {
        try {
          target = parse_augment(text);
        } catch (const InputError&) {
          throw InputError("must be none, flip, crop or flip,crop, not '" + text + "'");
        }
      },
      [&target] { return Json(to_string(target)); });
}

void add_decode_threads(OptionSet& options, int64_t& target) {
  const auto read = [&target](const std::string& text) {
    const auto value = text == "auto" ? std::optional<int64_t>(0) : parse_count(text);
    if (!value || (text != "auto" && *value < 1) || *value > 4096) {
      throw InputError("must be auto or a whole number from 1 to 4096, not '" + text + "'");
    }
    target = *value;
  };
  add_read(options, "--decode-threads", "auto|N", "auto",
           "threads that read images ahead of the network; auto: as many as --threads", read,
           [&target] { return target == 0 ? Json("auto") : Json(target); });
}

void add_cache(OptionSet& options, TrainOptions& train) {
  add_read(
      options, "--cache", "DIR", "none",
      "folder that keeps activations, for later runs on the same images; made when missing",
      [&train](const std::string& text) {
        if (text.empty()) throw InputError("must name a folder");
        train.cache = text;
      },
      [&train] { return Json(train.cache.string()); });
  add_read(
      options, "--cache-precision", "fp32|bf16", to_string(train.cache_precision),
      "bf16: half the size, and all tokens are rounded to it",
      [&train](const std::string& text) {
        if (text != "fp32" && text != "bf16") throw InputError("must be fp32 or bf16, not '" + text + "'");
        train.cache_precision = parse_cache_precision(text);
      },
      [&train] { return Json(to_string(train.cache_precision)); });
  options.bytes("--cache-size", train.cache_size,
                "what the cache may take, as 50GiB; else 80 % of what is free");
}

/// `--untied` is a switch whose field is the other way round.
void add_untied(OptionSet& options, bool& tied) {
  options.custom_flag(
      "--untied", "the decoder has weights of its own", [&tied](bool on) { tied = !on; },
      [&tied] { return Json(!tied); });
}

void add_checkpoints(OptionSet& options, TrainOptions& train) {
  add_read(
      options, "--checkpoint-every", "TIME|STEPS", "5min", "as 30s, 5min, 1h, or a number of steps",
      [&train](const std::string& text) {
        try {
          train.checkpoint_every = parse_checkpoint_every(text);
        } catch (const InputError&) {
          throw InputError("must be a number of steps, or a time such as 30s, 5min, 1h, not '" + text + "'");
        }
      },
      [&train] { return Json(to_string(train.checkpoint_every)); });
}

void add_logs(OptionSet& options, TrainOptions& train) {
  options.count("--log-every", train.log_every, 1, int64_t{1} << 40, "steps a line of metrics.jsonl");
  add_read(
      options, "--log-format", "jsonl|tensorboard", "jsonl",
      "tensorboard: event files in RUN/TAP/tensorboard, beside metrics.jsonl",
      [&train](const std::string& text) {
        if (text != "jsonl" && text != "tensorboard")
          throw InputError("must be jsonl or tensorboard, not '" + text + "'");
        train.tensorboard = text == "tensorboard";
      },
      [&train] { return Json(train.tensorboard ? "tensorboard" : "jsonl"); });
  options.flag("--plot", train.plot,
               "draw RUN/TAP/loss.svg and density.svg at the end, RUN/sweep.svg of a sweep");
}

using Copy = void (*)(const TrainOptions&, TrainOptions&);

template <auto Field>
void copy(const TrainOptions& from, TrainOptions& to) {
  to.*Field = from.*Field;
}

using O = TrainOptions;
constexpr std::pair<const char*, Copy> kCopies[] = {
    {"tap", copy<&O::taps>},
    {"k", copy<&O::k>},
    {"expansion", copy<&O::expansion>},
    {"untied", copy<&O::tied>},
    {"decoder-norm", copy<&O::unit_norm>},
    {"start-norm", copy<&O::start_norm>},
    {"centre", copy<&O::centre>},
    {"tokens", copy<&O::tokens>},
    {"epochs", copy<&O::epochs>},
    {"batch", copy<&O::batch>},
    {"lr", copy<&O::learning_rate>},
    {"warmup", copy<&O::warmup>},
    {"lr-schedule", copy<&O::schedule>},
    {"auxk", copy<&O::aux_k>},
    {"aux-alpha", copy<&O::aux_alpha>},
    {"dead-after", copy<&O::dead_after>},
    {"precision", copy<&O::precision>},
    {"conv", copy<&O::conv>},
    {"holdout", copy<&O::holdout>},
    {"positions-per-image", copy<&O::positions_per_image>},
    {"buffer-tokens", copy<&O::buffer_tokens>},
    {"forward-batch", copy<&O::forward_batch>},
    {"seed", copy<&O::seed>},
    {"sample", copy<&O::sample>},
    {"cache", copy<&O::cache>},
    {"cache-precision", copy<&O::cache_precision>},
    {"cache-size", copy<&O::cache_size>},
    {"checkpoint-every", copy<&O::checkpoint_every>},
    {"log-every", copy<&O::log_every>},
    {"log-format", copy<&O::tensorboard>},
    {"plot", copy<&O::plot>},
    {"max-memory", copy<&O::max_memory>},
    {"order", copy<&O::order>},
    {"shuffle-buffer", copy<&O::shuffle_buffer>},
    {"augment", copy<&O::augment>},
    {"decode-threads", copy<&O::decode_threads>},
    {"strict", copy<&O::strict>},
};

}  // namespace

void add_training_options(OptionSet& options, TrainOptions& train) {
  constexpr int64_t kMany = int64_t{1} << 50, kWide = int64_t{1} << 31;
  options.group("The autoencoder");
  options.count("--k", train.k, 1, kWide - 1, "latents kept a token");
  options.count("--expansion", train.expansion, 1, kWide - 1, "latents = expansion x channels of the tap");
  add_untied(options, train.tied);
  add_names(options, train);
  add_auto_or_real(options, "--start-norm", train.start_norm, "norm of the weights' rows at the start");
  options.group("Training");
  options.count("--tokens", train.tokens, 1, kMany, "tokens a tap, rounded up to whole batches; 20M, 500k");
  add_epochs(options, train.epochs);
  options.count("--batch", train.batch, 1, 1 << 24, "tokens a step");
  add_auto_or_real(options, "--lr", train.learning_rate, "learning rate of Adam");
  options.count("--warmup", train.warmup, 0, kMany, "steps until the learning rate is reached");
  options.count("--auxk", train.aux_k, 0, kWide - 1,
                "AuxK: dead latents that learn from the error; 0: off, else 512");
  options.real("--aux-alpha", train.aux_alpha, 0, 1e3, "weight of AuxK's loss");
  options.count("--dead-after", train.dead_after, 1, kMany,
                "tokens without firing until a latent counts as dead");
  add_precision(options, train.precision);
  add_network_conv(options, train.conv);
  options.group("Data");
  options.real("--holdout", train.holdout, 0, 0.5, "share of the images that is held out for the evaluation");
  add_positions(options, train.positions_per_image);
  add_sampling(options, train.sample);
  options.count("--buffer-tokens", train.buffer_tokens, 1, 1 << 30,
                "tokens a tap that are shuffled together");
  add_order(options, train);
  add_augment(options, train.augment);
  add_forward_batch(options, train.forward_batch);
  add_decode_threads(options, train.decode_threads);
  add_cache(options, train);
  options.flag("--strict", train.strict, "an unreadable image is an error");
  options.group("Checkpoints and logs");
  add_checkpoints(options, train);
  add_logs(options, train);
}

void overlay_given(const OptionSet& options, const TrainOptions& from, TrainOptions& to) {
  for (const auto& [name, copy_field] : kCopies) {
    if (options.given(name)) copy_field(from, to);
  }
}

}  // namespace branchsae::apps
