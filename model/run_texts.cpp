#include "model/run_texts.h"

#include <fmt/format.h>

#include <string>

#include "model/json.h"

namespace branchsae::model {
namespace {

/// The shortest decimal number that reads back as this float: 0.9, not 0.8999999761581421.
double shortest(float value) {
  return std::stod(fmt::format("{}", value));
}

}  // namespace

std::string config_text(const SaeConfig& config, const RunTap& tap, const RunInfo& run,
                        const RoundSizes& sizes, double scale) {
  const SaeStep adam;
  const Json json{{"tap", tap.name},
                  {"d", config.d},
                  {"n", config.n},
                  {"k", config.k},
                  {"tied", config.tied},
                  {"decoder_norm", config.unit_norm ? "unit" : "free"},
                  {"scale", shortest(static_cast<float>(scale))},
                  {"start_norm", config.start_norm},
                  {"b_pre_start", config.centre == CentreStart::kMean ? "mean" : "geometric-median"},
                  {"tokens", run.options.tokens},
                  {"total_steps", run.total_steps},
                  {"batch", config.batch},
                  {"learning_rate", config.learning_rate},
                  {"lr_schedule", to_string(config.schedule)},
                  {"warmup", config.warmup},
                  {"adam",
                   {{"beta1", shortest(adam.beta1)},
                    {"beta2", shortest(adam.beta2)},
                    {"epsilon", shortest(adam.epsilon)}}},
                  {"auxk", config.aux_k},
                  {"aux_alpha", config.aux_k > 0 ? config.aux_alpha : 0.0},
                  {"dead_after", config.dead_after},
                  {"precision", to_string(config.precision)},
                  {"holdout", run.options.holdout},
                  {"positions_per_image", sizes.positions},
                  {"round_images", sizes.images},
                  {"forward_batch", run.options.forward_batch},
                  {"seed", run.options.seed},
                  {"preprocess", run.preprocess},
                  {"model_sha256", run.model_sha256},
                  {"images_fingerprint", run.images_fingerprint}};
  return json.dump(2) + "\n";
}

std::string eval_text(const SaeEvaluation& evaluation, int64_t images, const RunInfo& run, int64_t step,
                      const std::string& sae_sha256) {
  Json json{{"tap", evaluation.tap}, {"k", evaluation.k}, {"step", step}, {"images", images}};
  json.update(metrics_json(evaluation.metrics));
  json["holdout"] = run.options.holdout;
  json["sae_sha256"] = sae_sha256;
  json["model_sha256"] = run.model_sha256;
  json["images_fingerprint"] = run.images_fingerprint;
  return json.dump(2) + "\n";
}

}  // namespace branchsae::model
