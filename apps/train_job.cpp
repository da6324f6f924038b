#include "apps/train_job.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "apps/messages.h"
#include "apps/model_input.h"
#include "apps/numbers.h"
#include "apps/signals.h"
#include "apps/skipped_images.h"
#include "apps/train_bar.h"
#include "apps/version.h"

namespace branchsae::apps {
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
