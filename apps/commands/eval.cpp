#include <fmt/format.h>

#include <numeric>

#include "apps/commands/commands.h"
#include "apps/forward_pass.h"
#include "apps/image_list.h"
#include "apps/messages.h"
#include "apps/numbers.h"
#include "apps/progress.h"
#include "apps/run_input.h"
#include "apps/run_summary.h"
#include "apps/signals.h"
#include "apps/skipped_images.h"
#include "engine/error.h"
#include "model/evaluate.h"
#include "model/image_split.h"

namespace branchsae::apps {
namespace {

struct Options {
  RunArguments run;
  std::vector<int64_t> ks;
  int64_t batch = 16;
  std::string conv = "trained";
  bool all = false, strict = false;
};

/// On the images that the run was trained on only those that were held out.
std::vector<int64_t> chosen_images(const OpenedRun& opened, bool all) {
  if (opened.same_images && !all) {
    std::vector<int64_t> held_out = split_images(opened.images->size(), opened.info.options.holdout).held_out;
    if (held_out.empty())
      throw InputError("the run held no image out; give other images, or --all for those it was trained on");
    return held_out;
  }
  std::vector<int64_t> indices(static_cast<size_t>(opened.images->size()));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

/// A row a tap and quantile set: how often latents fire.
Table density_table(const EvaluateResult& result) {
  std::vector<Table::Column> columns = {{"tap"}, {"k", Table::Align::kRight}};
  for (const double q : kDensityQuantiles)
    columns.push_back({fmt::format("{:g} %", 100 * q), Table::Align::kRight});
  Table table(columns);
  for (const SaeEvaluation& one : result.evaluations) {
    std::vector<std::string> row = {one.tap, std::to_string(one.k)};
    for (const double density : one.metrics.density_quantiles) row.push_back(as_figure(density, 3));
    table.row(std::move(row));
  }
  return table;
}

void print(const Context& context, const OpenedRun& opened, const EvaluateResult& result, const char* which) {
  std::vector<TapLine> lines;
  Json evaluations = Json::array();
  int64_t tokens = 0;
  for (const SaeEvaluation& one : result.evaluations) {
    const Json metrics = Json::parse(to_json(one));
    const RunTap& tap = find_tap(opened.info, one.tap);
    lines.push_back({one.tap, tap.d, tap.n, one.k, metrics});
    tokens = one.metrics.tokens;
    evaluations.push_back(metrics);
  }
  context.out.text(
      fmt::format("{}\nshare of tokens on which a latent is active, quantiles over latents:\n{}\n{} {} "
                  "images, {} tokens a tap{}\n",
                  metrics_table(lines).text(), density_table(result).text(), with_separators(result.images),
                  which, with_separators(tokens),
                  result.skipped.empty() ? "" : fmt::format(", {} skipped", result.skipped.size())));
  context.out.json({{"run", opened.folder.string()},
                    {"images", result.images},
                    {"which", which},
                    {"skipped", skipped_json(result.skipped)},
                    {"evaluations", std::move(evaluations)}});
}

void run(const Context& context, const Options& o) {
  const OpenedRun opened = open_run(o.run);
  const std::vector<SaeFile> saes = load_saes(opened);
  EvaluateOptions options;
  options.images = chosen_images(opened, o.all);
  options.ks = o.ks;
  options.forward_batch = o.batch;
  options.strict = o.strict;
  options.precision = opened.info.options.precision;
  options.conv = conv_of_run(o.conv, opened.info.options.conv);
  const Device device = open_device(context.common);
  EvaluateResult result;
  {
    Progress progress("eval", std::ssize(options.images), "images", context.common.progress());
    EvaluateCallbacks callbacks;
    callbacks.progress = [&](int64_t done, int64_t) { progress.update(done); };
    callbacks.stop_requested = [] { return stop_signal() != 0; };
    result = evaluate(device, opened.graph, *opened.images, saes, options, callbacks);
  }
  check_stop();
  warn_of_skipped(result.skipped);
  print(context, opened, result, opened.same_images && !o.all ? "held-out" : "given");
}

}  // namespace

void add_eval(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"eval", "RUN [IMAGES...]", "how well a run's autoencoders reconstruct",
       R"(Reconstructs the tokens of images that the autoencoders were not trained on and prints, for each tap:
  FVU     sum |x - x_hat|^2 / sum |x - mean x|^2 (explained variance = 1 - FVU)
  mse     mean over tokens and channels of (x - x_hat)^2, in the network's own units
  l0      latents active a token
  dead    share of latents never active on these tokens
  cosine  mean cosine of x and x_hat
and how often latents fire. On the images of the run itself only the held-out ones are used. --k tries
other numbers of kept latents on the same weights.)",
       R"(  branchsae eval runs/first
  branchsae eval runs/first other-photos/ --json
  branchsae eval runs/first --tap mixed4c.5x5 --k 4,8,16,32)"},
      [o](const Context& context) { run(context, *o); });
  add_run_arguments(options, o->run);
  options.counts("--k", o->ks, 1, INT32_MAX, "latents kept a token; as trained by default");
  options.flag("--all", o->all, "all of the run's images, not only the held-out ones");
  options.count("--batch", o->batch, 1, 4096, "images a forward pass");
  add_conv_of_run(options, o->conv);
  options.flag("--strict", o->strict, "an unreadable image is an error");
}

}  // namespace branchsae::apps
