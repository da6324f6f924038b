#include "apps/train_job.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "apps/messages.h"
#include "apps/model_input.h"
#include "apps/numbers.h"
#include "apps/progress.h"
#include "apps/signals.h"
#include "apps/skipped_images.h"
#include "apps/version.h"

namespace branchsae::apps {
namespace {

/// "fvu 0.0123 0.0045": one figure a tap while they fit.
std::string tap_figures(const TrainProgress& now) {
  std::string text;
  for (const TapProgress& tap : now.taps) text += (text.empty() ? "fvu " : " ") + as_figure(tap.fvu, 3);
  return text;
}

/// Turns the job's reports into bars: for reading images into the token buffer, for training, and for the
/// evaluation at the end.
class TrainBar {
 public:
  explicit TrainBar(bool shown) : shown_(shown) {}

  void report(const TrainProgress& now) {
    using enum TrainProgress::Phase;
    if (now.phase == kTraining) {
      images_.reset();
      if (!tokens_) tokens_.emplace("train", now.total_tokens, "tokens", shown_, now.tokens);
      tokens_->update(now.tokens, tap_figures(now));
      return;
    }
    const bool is_new = !images_ || now.phase != phase_;
    phase_ = now.phase;
    if (is_new) images_.emplace(phase_ == kReading ? "read" : "evaluate", now.total_images, "images", shown_);
    images_->update(now.images);
  }

 private:
  bool shown_;
  TrainProgress::Phase phase_ = TrainProgress::Phase::kReading;
  std::optional<Progress> images_, tokens_;
};

}  // namespace

RunOrigin make_origin(const std::string& model, const std::vector<std::string>& images,
                      const OptionSet& options) {
  RunOrigin origin;
  origin.model_path = std::filesystem::absolute(model).lexically_normal().string();
  origin.images = absolute_specs(images);
  const Json resolved = options.resolved();
  for (const auto& [name, value] : resolved.items()) {
    origin.options[name] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  origin.versions = {{"branchsae", version_line()}, {"compiler", compiler_text()}, {"cuda", cuda_text()}};
  return origin;
}

TrainResult run_train_job(const Context& context, const Device& device, const Graph& graph,
                          const ImageSource& images, const TrainOptions& options, const RunOrigin& origin) {
  std::optional<TrainResult> result;
  {
    TrainBar bar(context.common.progress());
    TrainCallbacks callbacks;
    callbacks.progress = [&](const TrainProgress& now) { bar.report(now); };
    callbacks.stop_requested = [] { return stop_signal() != 0; };
    result = train(device, graph, images, options, origin, callbacks);
  }
  warn_of_skipped(result->skipped);
  if (result->stopped) {
    info(fmt::format("stopped at step {} of {}; go on with: branchsae train --resume {}", result->step,
                     result->total_steps, options.out.string()));
    throw Interrupted(stop_signal());
  }
  return std::move(*result);
}

}  // namespace branchsae::apps
