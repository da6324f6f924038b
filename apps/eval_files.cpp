#include "apps/eval_files.h"

#include <fmt/format.h>

#include <cmath>

namespace branchsae::apps {
namespace {

Json predictions_json(const PredictionSums& sums) {
  return {{"top1", sums.top1_share()},
          {"top5", sums.top5_share()},
          {"cross_entropy", sums.mean_cross_entropy()},
          {"added_loss", sums.mean_added_loss()},
          {"added_loss_error", sums.added_loss_error()},
          {"kl_to_clean", sums.mean_divergence()},
          {"same_top1", sums.same_top1_share()}};
}

Json splicing_json(const TapEvaluation& one) {
  if (!one.spliced()) return {};
  const SplicingEvaluation& all = *one.splicing;
  const auto recovered = [&](Replacement without) {
    return Json{{"loss", all.recovered(one.k(), without)},
                {"kl", all.divergence_recovered(one.k(), without)}};
  };
  return {{"images", all.clean.sums().images},
          {"labelled", all.clean.sums().labelled},
          {"clean", predictions_json(all.clean.sums())},
          {"zero", predictions_json(all.find(Replacement::kZero).predictions.sums())},
          {"mean", predictions_json(all.find(Replacement::kMean).predictions.sums())},
          {"reconstruction", predictions_json(one.predictions().sums())},
          {"recovered_against_zero", recovered(Replacement::kZero)},
          {"recovered_against_mean", recovered(Replacement::kMean)}};
}

/// A CSV field (RFC 4180).
std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string field = "\"";
  for (const char c : text) field.append(c == '"' ? 2 : 1, c);
  return field.append(1, '"');
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

}  // namespace

Json evaluation_json(const TapEvaluation& one) {
  Json json = Json::parse(to_json(one.metrics));
  for (const ReconstructionFormula& formula : reconstruction_formulas()) {
    const std::string field(formula.field);
    if (!json.contains(field)) json[field] = figure_of(one, field);
  }
  json["splicing"] = splicing_json(one);
  json["not_spliced"] = one.spliced() ? Json() : Json(one.splicing->refused);
  return json;
}

Json formulas_json() {
  Json list = Json::array();
  for (const ReconstructionFormula& formula : reconstruction_formulas()) {
    list.push_back({{"field", formula.field},
                    {"title", formula.title},
                    {"formula", formula.formula},
                    {"reported_by", formula.reported_by}});
  }
  return list;
}

Json classes_json(const TapEvaluation& one, const ClassList* classes) {
  Json list = Json::array();
  if (!one.spliced()) return list;
  for (const ClassOutcome& outcome : class_outcomes(one)) {
    Json entry = {{"class", outcome.label}};
    entry["wordnet_id"] = classes == nullptr ? Json() : Json(classes->at(outcome.label).wordnet_id);
    entry["name"] = classes == nullptr ? Json() : Json(classes->short_name(outcome.label));
    entry["images"] = outcome.clean.images;
    entry["clean"] = predictions_json(outcome.clean);
    entry["spliced"] = predictions_json(outcome.spliced);
    list.push_back(std::move(entry));
  }
  return list;
}

std::string classes_csv(const TapEvaluation& one, const ClassList* classes) {
  std::string text =
      "class,wordnet_id,name,images,top1_clean,top1_spliced,top5_clean,top5_spliced,cross_entropy_clean,"
      "cross_entropy_spliced,added_loss,kl_to_clean,same_top1\n";
  for (const ClassOutcome& outcome : class_outcomes(one)) {
    const std::string id = classes == nullptr ? "" : classes->at(outcome.label).wordnet_id;
    const std::string name = classes == nullptr ? "" : classes->short_name(outcome.label);
    const PredictionSums &clean = outcome.clean, &spliced = outcome.spliced;
    text += fmt::format("{},{},{},{}", outcome.label, quoted(id), quoted(name), clean.images);
    for (const double value :
         {clean.top1_share(), spliced.top1_share(), clean.top5_share(), spliced.top5_share(),
          clean.mean_cross_entropy(), spliced.mean_cross_entropy(), spliced.mean_added_loss(),
          spliced.mean_divergence(), spliced.same_top1_share()}) {
      text += ',';
      text += number(value);
    }
    text += "\n";
  }
  return text;
}

std::string eval_file_name(int64_t k) {
  return fmt::format("eval-k{}", k);
}

}  // namespace branchsae::apps
