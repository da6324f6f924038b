#include "analysis/splicing/predictions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Channels of [N, C] or [N, C, 1, 1]; 0 for any other shape.
int64_t class_count(const Shape& shape) {
  const bool flat = shape.size() == 2 || (shape.size() == 4 && shape[2] == 1 && shape[3] == 1);
  return flat && shape[1] > 1 ? shape[1] : 0;
}

std::vector<double> log_softmax(std::span<const float> scores) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (float score : scores) most = std::max(most, static_cast<double>(score));
  for (float score : scores) sum += std::exp(static_cast<double>(score) - most);
  std::vector<double> logs;
  for (float score : scores) logs.push_back(static_cast<double>(score) - most - std::log(sum));
  return logs;
}

/// Classes that come before `label`: higher, or as high with a lower index.
int64_t rank_of(const std::vector<double>& logs, size_t label) {
  int64_t before = 0;
  for (size_t c = 0; c < logs.size(); ++c)
    before += logs[c] > logs[label] || (logs[c] == logs[label] && c < label) ? 1 : 0;
  return before;
}

}  // namespace

ClassScores find_class_scores(const Graph& graph) {
  ClassScores found;
  int latest = -1;
  for (const ValueId output : graph.outputs) {
    const int node = graph.producer(output);
    const int64_t classes = class_count(graph.value(output).shape);
    if (classes == 0 || node <= latest) continue;
    latest = node;
    const Node& last = graph.nodes[static_cast<size_t>(node)];
    const ValueId scores = std::holds_alternative<SoftmaxOp>(last.op) ? last.inputs.front() : output;
    found = {scores, graph.value(scores).name, graph.value(output).name, classes};
  }
  if (latest < 0)
    throw InputError(fmt::format(
        "no output of {} is one number a class ([N, classes]); it classifies nothing", graph.source));
  return found;
}

double PredictionSums::share(double sum, int64_t count) {
  return count > 0 ? sum / static_cast<double>(count) : kNaN;
}

double PredictionSums::added_loss_error() const {
  if (labelled < 2) return kNaN;
  const auto n = static_cast<double>(labelled);
  const double scatter = added_loss_squared - added_loss * added_loss / n;
  return std::sqrt(std::max(scatter, 0.0) / (n - 1) / n);
}

void PredictionComparison::add(std::span<const float> clean, std::span<const float> changed, int32_t label) {
  if (clean.size() != changed.size() || clean.empty()) {
    throw ShapeError(
        fmt::format("{} clean class scores beside {} changed ones", clean.size(), changed.size()));
  }
  const std::vector<double> before = log_softmax(clean), after = log_softmax(changed);
  PredictionSums image{.images = 1};
  // Rounding may leave a sum of about -1e-16 where both agree.
  for (size_t c = 0; c < before.size(); ++c) image.divergence += std::exp(before[c]) * (before[c] - after[c]);
  image.divergence = std::max(image.divergence, 0.0);
  image.same_top1 =
      std::ranges::max_element(before) - before.begin() == std::ranges::max_element(after) - after.begin()
          ? 1
          : 0;
  if (label >= 0 && static_cast<size_t>(label) < after.size()) {
    const int64_t rank = rank_of(after, static_cast<size_t>(label));
    image.labelled = 1;
    image.top1 = rank < 1 ? 1 : 0;
    image.top5 = rank < 5 ? 1 : 0;
    image.cross_entropy = -after[static_cast<size_t>(label)];
    image.added_loss = before[static_cast<size_t>(label)] - after[static_cast<size_t>(label)];
    image.added_loss_squared = image.added_loss * image.added_loss;
  }
  const auto add_to = [&image](PredictionSums& sums) {
    sums.images += image.images;
    sums.labelled += image.labelled;
    sums.top1 += image.top1;
    sums.top5 += image.top5;
    sums.cross_entropy += image.cross_entropy;
    sums.added_loss += image.added_loss;
    sums.added_loss_squared += image.added_loss_squared;
    sums.divergence += image.divergence;
    sums.same_top1 += image.same_top1;
  };
  add_to(sums_);
  if (image.labelled > 0) add_to(by_class_[label]);
}

double loss_recovered(const PredictionSums& clean, const PredictionSums& spliced,
                      const PredictionSums& without) {
  const double damage = without.mean_cross_entropy() - clean.mean_cross_entropy();
  if (!(damage > 0)) return kNaN;
  return (without.mean_cross_entropy() - spliced.mean_cross_entropy()) / damage;
}

double divergence_recovered(const PredictionSums& spliced, const PredictionSums& without) {
  const double damage = without.mean_divergence();
  if (!(damage > 0)) return kNaN;
  return (damage - spliced.mean_divergence()) / damage;
}

}  // namespace branchsae
