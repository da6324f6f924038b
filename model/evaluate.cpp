#include "model/evaluate.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/memory_advice.h"
#include "model/evaluation.h"
#include "model/json.h"
#include "model/precision.h"

namespace branchsae {
namespace model {
namespace {

/// Sums of one target, by k.
using TargetSums = std::vector<SaeEvalSums>;

void add_tokens(const EvaluationTarget& target, View<const float, 2> tokens, TargetSums& sums) {
  const int64_t most = target.sae->spec().max_batch;
  for (int64_t begin = 0; begin < tokens.shape[0]; begin += most) {
    const auto part = tokens.rows(begin, std::min(most, tokens.shape[0] - begin));
    for (size_t i = 0; i < target.ks.size(); ++i) target.sae->evaluate_sync(part, target.ks[i], sums[i]);
  }
}

}  // namespace

EvaluateResult evaluate_targets(ImageTokens& tokens, Stream& stream,
                                const std::vector<EvaluationTarget>& targets,
                                const std::vector<int64_t>& images, SkippedImages& skipped,
                                const EvaluateCallbacks& callbacks) {
  std::vector<TargetSums> sums;
  for (const EvaluationTarget& target : targets) sums.emplace_back(target.ks.size());
  EvaluateResult result;
  const auto on_unreadable = [&](int64_t image, const std::string& reason) { skipped.add(image, reason); };
  const bool finished =
      tokens.run_in_order(stream, images, on_unreadable, [&](const std::vector<int64_t>& batch) {
        const auto count = static_cast<int64_t>(batch.size());
        stream.synchronize();
        for (size_t i = 0; i < targets.size(); ++i) {
          add_tokens(targets[i], tokens.tokens(targets[i].index, 0, count), sums[i]);
        }
        result.images += count;
        if (callbacks.progress) callbacks.progress(result.images, static_cast<int64_t>(images.size()));
        return !(callbacks.stop_requested && callbacks.stop_requested());
      });
  result.stopped = !finished;
  for (size_t i = 0; i < targets.size(); ++i) {
    for (size_t j = 0; j < targets[i].ks.size(); ++j) {
      result.evaluations.push_back(
          {targets[i].tap, targets[i].ks[j], metrics_from_sums(sums[i][j], targets[i].sae->spec().n)});
    }
  }
  result.skipped = skipped.list();
  return result;
}

std::vector<int64_t> checked_ks(const EvaluateOptions& options, const SaeFile& sae) {
  if (options.ks.empty()) return {sae.spec.k};
  for (int64_t k : options.ks) {
    if (k < 1 || k > sae.spec.n) {
      throw InputError(fmt::format("k must be in 1..n = {} for '{}', not {}", sae.spec.n, sae.tap, k));
    }
  }
  return options.ks;
}

void check_width(const SaeFile& sae, const Tap& tap) {
  if (tap.width() == sae.spec.d) return;
  throw InputError(
      fmt::format("the autoencoder of '{}' has width {}, but the tap has {} channels in this model", sae.tap,
                  sae.spec.d, tap.width()));
}

}  // namespace model

namespace {

constexpr int64_t kTokensAtOnce = 4096;

/// The taps, each once.
std::vector<std::string> distinct_taps(const std::vector<SaeFile>& saes) {
  std::vector<std::string> taps;
  for (const SaeFile& sae : saes) {
    if (std::ranges::find(taps, sae.tap) == taps.end()) taps.push_back(sae.tap);
  }
  return taps;
}

}  // namespace

EvaluateResult evaluate(const Device& device, const Graph& graph, const ImageSource& images,
                        const std::vector<SaeFile>& saes, const EvaluateOptions& options,
                        const EvaluateCallbacks& callbacks) {
  for (const SaeFile& sae : saes) model::checked_ks(options, sae);
  const std::vector<std::string> taps = distinct_taps(saes);
  const SaePrecision precision = offered_precision(device.backend(), options.precision);
  const auto network = with_memory_advice("lower --batch", [&] {
    return std::make_unique<model::ImageForward>(device, graph, images, taps, options.forward_batch,
                                                 network_precision(precision), options.conv);
  });
  model::ImageForward& forward = *network;
  std::vector<std::unique_ptr<SaeExecutor>> executors;
  std::vector<model::EvaluationTarget> targets;
  for (const SaeFile& sae : saes) {
    const auto index = static_cast<size_t>(std::ranges::find(taps, sae.tap) - taps.begin());
    model::check_width(sae, forward.taps()[index]);
    executors.push_back(with_memory_advice(
        "give fewer --tap at once", [&] { return make_executor(device, sae, kTokensAtOnce, precision); }));
    targets.push_back({sae.tap, index, executors.back().get(), model::checked_ks(options, sae)});
  }
  model::SkippedImages skipped(images, options.images, options.strict);
  const auto stream = device.make_stream();
  model::ImageTokens tokens(device, forward, {});
  return model::evaluate_targets(tokens, *stream, targets, options.images, skipped, callbacks);
}

std::string to_json(const SaeEvaluation& evaluation) {
  model::Json json{{"tap", evaluation.tap}, {"k", evaluation.k}};
  json.update(model::metrics_json(evaluation.metrics));
  return json.dump();
}

}  // namespace branchsae
