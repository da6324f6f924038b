#include "analysis/branches/report_files.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace branchsae {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

/// Six digits: what a float32 decoder holds, in files of thousands of latents.
Json figure(double value) {
  return std::isfinite(value) ? Json(std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr))
                              : Json(nullptr);
}

Json nulls_json(const BranchReport& report) {
  Json json = Json::object();
  for (size_t b = 0; b < report.branches.size(); ++b) {
    const ShareNulls& null = report.nulls[b];
    json[report.branches[b].group.name] = {
        {"channels", null.channels},
        {"activation_energy", number(null.activation_energy)},
        {"random_positive", number(null.random_positive)},
        {"random_positive_99", number(null.random_positive_99)},
        {"random_energy", number(null.random_energy)},
        {"random_energy_99", number(null.random_energy_99)},
        {"neuron_basis",
         {{"mean_share", null.channels},  // every neuron has share 1 in its own branch
          {"localised", report.branches[b].group.count},
          {"live", report.summary[b].neurons}}}};
  }
  return json;
}

Json summary_json(const BranchReport& report) {
  Json json = Json::object();
  for (size_t b = 0; b < report.branches.size(); ++b) {
    const BranchSummary& s = report.summary[b];
    json[report.branches[b].group.name] = {{"layer", report.branches[b].layer},
                                           {"branch", report.branches[b].branch},
                                           {"mean_rho", number(s.mean_positive)},
                                           {"mean_s", number(s.mean_energy)},
                                           {"mean_l1", number(s.mean_absolute)},
                                           {"mean_evidence", number(s.mean_evidence)},
                                           {"mean_causal", number(s.mean_causal)},
                                           {"localised", s.localised},
                                           {"dominant", s.dominant},
                                           {"most_enriched", s.most_enriched},
                                           {"above_random_99", s.above_random}};
  }
  return json;
}

Json concepts_json(const BranchReport& report) {
  Json json = Json::object();
  for (const UnitConcept& c : report.concepts)
    json[c.name] = {
        {"positives", c.positives}, {"live", report.live_latents}, {"how", c.how}, {"score", c.score_name}};
  return json;
}

Json test_json(const SpecialisationTest& t) {
  Json json{{"concept", t.concept_name},
            {"branch", t.branch},
            {"subject", t.subject},
            {"test", t.test},
            {"effect", t.effect},
            {"value", number(t.value)},
            {"low", number(t.low)},
            {"high", number(t.high)},
            {"n", t.n},
            {"positives", t.positives},
            {"p", number(t.p)},
            {"q", number(t.q)},
            {"correction", t.correction},
            {"rounds", t.rounds}};
  if (t.effect == "odds ratio") {
    json["localised"] = t.localised;
    json["both"] = t.both;
  }
  if (t.rounds > 0) {
    json["null_mean"] = number(t.null_mean);
    json["null_sd"] = number(t.null_sd);
  }
  return json;
}

template <class Value>
Json by_branch(const BranchReport& report, const Value& value) {
  Json json = Json::object();
  for (size_t b = 0; b < report.branches.size(); ++b) json[report.branches[b].group.name] = figure(value(b));
  return json;
}

std::string branch_name(const BranchReport& report, int32_t branch) {
  return branch < 0 ? "" : report.branches[static_cast<size_t>(branch)].group.name;
}

Json name_or_null(const std::string& name) {
  return name.empty() ? Json(nullptr) : Json(name);
}

Json latent_json(const BranchReport& report, size_t i) {
  const LatentShares& latent = report.latents[i];
  const auto& share = latent.branches;
  Json json{{"id", i}, {"density", figure(report.density[i])}, {"live", report.live[i] != 0}};
  json["rho"] = by_branch(report, [&](size_t b) { return share[b].positive; });
  json["s"] = by_branch(report, [&](size_t b) { return share[b].energy; });
  json["l1"] = by_branch(report, [&](size_t b) { return share[b].absolute; });
  json["enrichment"] = by_branch(report, [&](size_t b) { return share[b].enrichment; });
  if (report.evidence)
    json["evidence"] = by_branch(report, [&](size_t b) { return report.evidence->at(i, b); });
  if (report.causal) json["causal"] = by_branch(report, [&](size_t b) { return report.causal->at(i, b); });
  const bool zero = latent.dominant < 0;
  json["si"] = zero ? Json(nullptr) : figure(latent.specialisation);
  json["entropy"] = zero ? Json(nullptr) : figure(latent.entropy);
  json["dominant"] = name_or_null(branch_name(report, latent.dominant));
  json["most_enriched"] = name_or_null(branch_name(report, latent.most_enriched));
  json["neuron"] = latent.neuron < 0 ? Json(nullptr) : Json(latent.neuron);
  json["neuron_cosine"] = figure(latent.neuron_cosine);
  json["concepts"] = Json::object();
  json["scores"] = Json::object();
  for (const UnitConcept& c : report.concepts) {
    json["concepts"][c.name] = c.positive[i] != 0;
    json["scores"][c.name] = figure(c.score[i]);
  }
  return json;
}

std::string csv_figure(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "";
}

std::string csv_header(const BranchReport& report) {
  std::string text = "id,density,live,si,entropy,dominant,most_enriched,neuron,neuron_cosine";
  for (const char* share : {"rho", "s", "l1", "enrichment", "evidence", "causal"}) {
    for (const TapBranch& branch : report.branches) text += fmt::format(",{} {}", share, branch.group.name);
  }
  for (const UnitConcept& c : report.concepts) text += fmt::format(",{0},{0} score", c.name);
  return text + "\n";
}

std::string csv_line(const BranchReport& report, size_t i) {
  const LatentShares& latent = report.latents[i];
  const bool zero = latent.dominant < 0;
  std::string text =
      fmt::format("{},{},{},{},{},{},{},{},{}", i, csv_figure(report.density[i]), report.live[i],
                  zero ? "" : csv_figure(latent.specialisation), zero ? "" : csv_figure(latent.entropy),
                  branch_name(report, latent.dominant), branch_name(report, latent.most_enriched),
                  zero ? "" : std::to_string(latent.neuron), csv_figure(latent.neuron_cosine));
  for (const auto field :
       {&BranchShare::positive, &BranchShare::energy, &BranchShare::absolute, &BranchShare::enrichment}) {
    for (const BranchShare& share : latent.branches) text += fmt::format(",{}", csv_figure(share.*field));
  }
  for (const auto* values : {&report.evidence, &report.causal}) {
    for (size_t b = 0; b < report.branches.size(); ++b)
      text += fmt::format(",{}", *values ? csv_figure((*values)->at(i, b)) : "");
  }
  for (const UnitConcept& c : report.concepts)
    text += fmt::format(",{},{}", c.positive[i], csv_figure(c.score[i]));
  return text + "\n";
}

}  // namespace

std::string branches_json(const BranchReport& report, const BranchReportOptions& options,
                          const std::string& about, bool with_latents) {
  Json head = Json::parse(about);
  head["images"] = report.images;
  head["tokens"] = report.tokens;
  head["labelled"] = report.labelled;
  head["rounds"] = options.tests.rounds;
  head["strata"] = fmt::format("{} groups of firing density", options.tests.strata);
  head["localised"] = options.tests.localised;
  head["same_cosine"] = options.same_cosine;
  Json json{{"about", std::move(head)}, {"branches", Json::array()}};
  for (const TapBranch& branch : report.branches) json["branches"].push_back(branch.group.name);
  json["compared"] = report.compared.names;
  json["nulls"] = nulls_json(report);
  json["shares"] = summary_json(report);
  json["live"] = report.live_latents;
  json["neuron_share"] = number(report.neuron_share);
  json["neuron_clusters"] = report.neurons_covered;
  json["clusters"] = {{"count", report.clusters.clusters},
                      {"latents", report.clusters.members},
                      {"largest", report.clusters.largest}};
  json["concepts"] = concepts_json(report);
  json["left_out"] = report.left_out;
  json["tests"] = Json::array();
  for (const SpecialisationTest& test : report.tests) json["tests"].push_back(test_json(test));
  std::string text = json.dump();
  if (!with_latents) return text + "\n";
  text.pop_back();
  text += ",\"latents\":[";  // one after another: all at once would take far more memory than the file
  for (size_t i = 0; i < report.latents.size(); ++i) {
    text += i > 0 ? ",\n" : "\n";
    text += latent_json(report, i).dump();
  }
  return text + "]}\n";
}

std::string branches_csv(const BranchReport& report) {
  std::string text = csv_header(report);
  for (size_t i = 0; i < report.latents.size(); ++i) text += csv_line(report, i);
  return text;
}

}  // namespace branchsae
