#include "apps/eval_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/numbers.h"
#include "engine/error.h"

namespace branchsae::apps {
namespace {

using enum Table::Align;

std::string cell(double value) {
  return std::isfinite(value) ? as_figure(value) : "-";
}

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.2f} %", 100 * share) : "-";
}

constexpr double kHalfWidth95 = 1.96;  // of a normal distribution's 95 %, in standard errors

/// "0.0123 ±0.0045": a mean with its 95 % confidence interval.
std::string added_loss(const PredictionSums& sums) {
  const double mean = sums.mean_added_loss(), error = sums.added_loss_error();
  if (!std::isfinite(mean)) return "-";
  return std::isfinite(error) ? fmt::format("{} ±{}", as_figure(mean, 3), as_figure(kHalfWidth95 * error, 2))
                              : as_figure(mean, 3);
}

/// Whether taking the tap away costs more than chance among these images may: else a share of that cost means
/// nothing.
bool costs(const PredictionSums& without) {
  return without.mean_added_loss() > kHalfWidth95 * without.added_loss_error();
}

/// tap, k, what stands in its place, then the figures.
std::vector<std::string> splicing_row(const std::string& tap, const std::string& k, const std::string& what,
                                      const PredictionSums& sums) {
  return {tap,
          k,
          what,
          percent(sums.top1_share()),
          percent(sums.top5_share()),
          cell(sums.mean_cross_entropy()),
          added_loss(sums),
          cell(sums.mean_divergence()),
          percent(sums.same_top1_share())};
}

void add_reconstruction(Table& table, const TapEvaluation& one) {
  std::vector<std::string> row =
      splicing_row(one.tap.name, std::to_string(one.k()), "reconstruction", one.predictions().sums());
  for (const Replacement without : {Replacement::kZero, Replacement::kMean}) {
    const bool means_something = costs(one.splicing->find(without).predictions.sums());
    row.push_back(means_something ? percent(one.splicing->recovered(one.k(), without)) : "-");
  }
  row.push_back(percent(one.splicing->divergence_recovered(one.k(), Replacement::kZero)));
  table.row(std::move(row));
}

}  // namespace

double figure_of(const TapEvaluation& one, std::string_view field) {
  const SaeMetrics& metrics = one.metrics.metrics;
  const ReconstructionFigures& figures = one.figures;
  const std::pair<std::string_view, double> all[] = {
      {"fvu", metrics.fvu},
      {"explained_variance", metrics.explained_variance},
      {"explained_variance_centred", figures.explained_variance_centred},
      {"explained_variance_by_channel", metrics.explained_variance_by_channel},
      {"explained_variance_by_token", figures.explained_variance_by_token},
      {"explained_variance_one_mean", figures.explained_variance_one_mean},
      {"cosine", metrics.cosine},
      {"relative_error", figures.relative_error},
      {"norm_ratio", figures.norm_ratio},
      {"reconstruction_bias", figures.reconstruction_bias},
      {"mse", metrics.mse},
      {"squared_error_norm", figures.squared_error_norm},
      {"error_norm", figures.error_norm},
  };
  const auto found = std::ranges::find(all, field, &std::pair<std::string_view, double>::first);
  if (found == std::end(all)) throw Error(fmt::format("no figure is called '{}'", field));
  return found->second;
}

std::vector<ClassOutcome> class_outcomes(const TapEvaluation& evaluation) {
  std::vector<ClassOutcome> outcomes;
  const auto& spliced = evaluation.predictions().by_class();
  for (const auto& [label, clean] : evaluation.splicing->clean.by_class())
    outcomes.push_back({label, clean, spliced.at(label)});
  return outcomes;
}

Table figures_table(const std::vector<TapEvaluation>& evaluations) {
  std::vector<Table::Column> columns = {{"tap"}, {"k", kRight}};
  for (const ReconstructionFormula& formula : reconstruction_formulas())
    columns.push_back({std::string(formula.title), kRight});
  Table table(columns);
  for (const TapEvaluation& one : evaluations) {
    std::vector<std::string> row = {one.tap.name, std::to_string(one.k())};
    for (const ReconstructionFormula& formula : reconstruction_formulas())
      row.push_back(cell(figure_of(one, formula.field)));
    table.row(std::move(row));
  }
  return table;
}

std::string formulas_text() {
  Table table({{"figure"}, {"is"}, {"reported by others as"}});
  for (const ReconstructionFormula& formula : reconstruction_formulas())
    table.row({std::string(formula.title), std::string(formula.formula), std::string(formula.reported_by)});
  return table.text();
}

Table density_table(const std::vector<TapEvaluation>& evaluations) {
  std::vector<Table::Column> columns = {{"tap"}, {"k", kRight}};
  for (const double q : kDensityQuantiles) columns.push_back({fmt::format("{:g} %", 100 * q), kRight});
  Table table(columns);
  for (const TapEvaluation& one : evaluations) {
    std::vector<std::string> row = {one.tap.name, std::to_string(one.k())};
    for (const double density : one.metrics.metrics.density_quantiles) row.push_back(as_figure(density, 3));
    table.row(std::move(row));
  }
  return table;
}

Table splicing_table(const std::vector<TapEvaluation>& evaluations) {
  Table table({{"tap"},
               {"k", kRight},
               {"replaced by"},
               {"top-1", kRight},
               {"top-5", kRight},
               {"CE", kRight},
               {"added CE", kRight},
               {"KL", kRight},
               {"same top-1", kRight},
               {"CE rec./zero", kRight},
               {"CE rec./mean", kRight},
               {"KL rec./zero", kRight}});
  std::set<std::string> seen;
  for (const TapEvaluation& one : evaluations) {
    if (!one.spliced()) continue;
    if (seen.empty()) table.row(splicing_row("-", "", "nothing", one.splicing->clean.sums()));
    if (seen.insert(one.tap.name).second) {
      for (const Replacement what : {Replacement::kZero, Replacement::kMean}) {
        table.row(splicing_row(one.tap.name, "", replacement_name(what),
                               one.splicing->find(what).predictions.sums()));
      }
    }
    add_reconstruction(table, one);
  }
  return table;
}

std::string refusals_text(const std::vector<TapEvaluation>& evaluations) {
  std::string text;
  std::set<std::string> seen;
  for (const TapEvaluation& one : evaluations) {
    if (one.spliced() || !seen.insert(one.tap.name).second) continue;
    text += fmt::format("{}: not replaced: {}\n", one.tap.name, one.splicing->refused);
  }
  return text;
}

Table class_table(const TapEvaluation& evaluation, const ClassList* classes, int64_t count) {
  Table table({{"class", kRight},
               {"name"},
               {"images", kRight},
               {"top-1 clean", kRight},
               {"top-1 replaced", kRight},
               {"CE clean", kRight},
               {"CE replaced", kRight},
               {"added", kRight}});
  std::vector<ClassOutcome> outcomes = class_outcomes(evaluation);
  std::ranges::stable_sort(outcomes, std::ranges::greater(), &ClassOutcome::added_loss);
  for (int64_t i = 0; i < std::ssize(outcomes); ++i) {
    if (i >= count && i < std::ssize(outcomes) - count) {
      if (i == count) table.row({"..."});
      continue;
    }
    const ClassOutcome& outcome = outcomes[static_cast<size_t>(i)];
    table.row({std::to_string(outcome.label), classes == nullptr ? "" : classes->short_name(outcome.label),
               std::to_string(outcome.clean.images), percent(outcome.clean.top1_share()),
               percent(outcome.spliced.top1_share()), cell(outcome.clean.mean_cross_entropy()),
               cell(outcome.spliced.mean_cross_entropy()), cell(outcome.added_loss())});
  }
  return table;
}

}  // namespace branchsae::apps
