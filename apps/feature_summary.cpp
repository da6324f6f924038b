#include "apps/feature_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "apps/numbers.h"
#include "apps/table.h"

namespace branchsae::apps {
namespace {

using enum Table::Align;

constexpr double kSignificant = 0.05;
constexpr size_t kListed = 10;
constexpr std::array<double, 5> kQuantiles{0.05, 0.25, 0.5, 0.75, 0.95};

std::vector<const FeatureRow*> live_rows(const FeatureTable& table) {
  std::vector<const FeatureRow*> live;
  for (const FeatureRow& row : table.rows) {
    if (row.density > 0) live.push_back(&row);
  }
  return live;
}

/// Linear between the ranks; 0 of none.
double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

template <class Field>
std::vector<double> values_of(const std::vector<const FeatureRow*>& rows, const Field& field) {
  std::vector<double> values;
  for (const FeatureRow* row : rows) {
    if (const std::optional<double> value = field(*row); value && std::isfinite(*value))
      values.push_back(*value);
  }
  return values;
}

struct ConceptCount {
  int64_t more = 0, less = 0;  ///< latents whose q is below 0.05, with an AUROC above and below 1/2
  int64_t images = 0;
};

std::map<std::string, ConceptCount> concept_counts(const std::vector<const FeatureRow*>& live) {
  std::map<std::string, ConceptCount> counts;
  for (const FeatureRow* row : live) {
    for (const auto& [name, selectivity] : row->concepts) {
      ConceptCount& count = counts[name];
      count.images = selectivity.ranks.labelled;
      if (!(selectivity.q < kSignificant)) continue;
      (selectivity.ranks.auroc > 0.5 ? count.more : count.less) += 1;
    }
  }
  return counts;
}

/// Labels by the number of latents that have them.
std::vector<std::pair<std::string, int64_t>> label_counts(const std::vector<const FeatureRow*>& live) {
  std::map<std::string, int64_t> counts;
  for (const FeatureRow* row : live) {
    if (row->label) ++counts[row->label->name];
  }
  std::vector<std::pair<std::string, int64_t>> list(counts.begin(), counts.end());
  std::ranges::stable_sort(list, std::greater<>(), &std::pair<std::string, int64_t>::second);
  return list;
}

std::string label_text(const FeatureRow& row) {
  return row.label ? fmt::format("{} {}/{}", row.label->name, row.label->hits, row.label->top) : "";
}

/// The latents whose label is the least likely by chance; without labels those of most colour.
Table selective_table(std::vector<const FeatureRow*> live, bool labelled) {
  Table table({{"latent", kRight},
               {"density", kRight},
               {"images", kRight},
               {"animals", kRight},
               {"dogs", kRight},
               {"label"},
               {"label q", kRight},
               {"colour", kRight},
               {"orientation", kRight}});
  const auto rank = [labelled](const FeatureRow* row) {
    const double p = labelled ? (row->label ? row->label->p : 2) : -row->colour_index.value_or(0);
    return std::tuple(p, row->latent);
  };
  std::ranges::sort(live, {}, rank);
  const auto auroc = [](const FeatureRow& row, const char* name) {
    const auto found = row.concepts.find(name);
    return found == row.concepts.end() ? "-" : fmt::format("{:.3f}", found->second.ranks.auroc);
  };
  const auto index = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.2f}", *value) : "-";
  };
  for (size_t i = 0; i < std::min(kListed, live.size()); ++i) {
    const FeatureRow& row = *live[i];
    table.row({std::to_string(row.latent), as_figure(row.density, 3), as_figure(row.image_density, 3),
               auroc(row, "animal"), auroc(row, "dog"), label_text(row),
               row.label ? as_figure(row.label->q, 2) : "-", index(row.colour_index),
               index(row.orientation)});
  }
  return table;
}

std::string quantile_line(const char* what, const std::vector<double>& values) {
  std::string line = fmt::format("{:<22}", what);
  for (double q : kQuantiles) line += fmt::format("{:>11}", as_figure(quantile(values, q), 3));
  return line + "\n";
}

std::string quantile_text(const std::vector<const FeatureRow*>& live) {
  std::string text = fmt::format("{:<22}", "over live latents");
  for (double q : kQuantiles) text += fmt::format("{:>11}", fmt::format("{:g} %", 100 * q));
  text += "\n";
  text +=
      quantile_line("  share of positions",
                    values_of(live, [](const FeatureRow& r) -> std::optional<double> { return r.density; }));
  text += quantile_line(
      "  share of images",
      values_of(live, [](const FeatureRow& r) -> std::optional<double> { return r.image_density; }));
  const auto colour = values_of(live, [](const FeatureRow& r) { return r.colour_index; });
  if (!colour.empty()) text += quantile_line("  colour index", colour);
  const auto turned = values_of(live, [](const FeatureRow& r) { return r.orientation; });
  if (!turned.empty()) text += quantile_line("  orientation", turned);
  return text;
}

std::string label_lines(const FeatureSummary& summary, const std::vector<const FeatureRow*>& live) {
  const FeatureTable& table = *summary.table;
  if (!table.no_labels.empty()) return fmt::format("no labels: {}\n", table.no_labels);
  std::string text;
  for (const auto& [name, count] : concept_counts(live)) {
    text += fmt::format(
        "{} latents fire more on {}s, {} less (AUROC, {} of {} labelled images, q < 0.05 by "
        "Benjamini-Hochberg over {} live latents)\n",
        with_separators(count.more), name, with_separators(count.less), with_separators(count.images),
        with_separators(table.labelled), with_separators(std::ssize(live)));
  }
  const auto labels = label_counts(live);
  int64_t labelled = 0;
  for (const auto& [name, count] : labels) labelled += count;
  text += fmt::format("{} latents have a label (hypergeometric over the 50 best images, q < 0.05)",
                      with_separators(labelled));
  for (size_t i = 0; i < std::min(kListed, labels.size()); ++i)
    text += fmt::format("{}{} {}", i == 0 ? ": " : ", ", labels[i].first, labels[i].second);
  text += "\n";
  if (summary.precision && summary.precision->labels > 0) {
    text += fmt::format(
        "labels found on every other image hold on the rest with precision {:.3f}, against {:.3f} "
        "by chance ({} labels)\n",
        summary.precision->precision, summary.precision->chance, with_separators(summary.precision->labels));
  }
  return text;
}

}  // namespace

std::string summary_text(const FeatureSummary& summary) {
  const FeatureTable& table = *summary.table;
  const auto live = live_rows(table);
  const auto all = std::ssize(table.rows);
  std::string text =
      fmt::format("{}, k = {}: {} of {} latents are live, {} dead; {} channels are active a position\n",
                  summary.tap, summary.k, with_separators(std::ssize(live)), with_separators(all),
                  with_separators(all - std::ssize(live)), as_figure(summary.input_l0, 3));
  text += quantile_text(live) + label_lines(summary, live);
  const Table selective = selective_table(live, table.no_labels.empty());
  return selective.empty() ? text : fmt::format("{}\n{}", text, selective.text());
}

Json summary_json(const FeatureSummary& summary) {
  const FeatureTable& table = *summary.table;
  const auto live = live_rows(table);
  Json json{{"tap", summary.tap},           {"k", summary.k},
            {"latents", table.rows.size()}, {"live", live.size()},
            {"images", table.images},       {"tokens", table.tokens},
            {"labelled", table.labelled},   {"input_l0", summary.input_l0}};
  json["no_labels"] = table.no_labels.empty() ? Json() : Json(table.no_labels);
  Json quantiles = Json::array();
  const auto densities =
      values_of(live, [](const FeatureRow& r) -> std::optional<double> { return r.density; });
  for (double q : kQuantiles) quantiles.push_back({{"q", q}, {"density", quantile(densities, q)}});
  json["density_quantiles"] = std::move(quantiles);
  json["concepts"] = Json::object();
  for (const auto& [name, count] : concept_counts(live))
    json["concepts"][name] = {{"images", count.images}, {"more", count.more}, {"less", count.less}};
  json["labels"] = Json::array();
  for (const auto& [name, count] : label_counts(live))
    json["labels"].push_back({{"name", name}, {"latents", count}});
  json["label_precision"] = summary.precision ? precision_json(*summary.precision) : Json();
  return json;
}

Json precision_json(const LabelPrecision& precision) {
  return {{"labels", precision.labels},
          {"precision", precision.precision},
          {"chance", precision.chance},
          {"labelled_images", precision.labelled_images},
          {"found_on", "every other labelled image"}};
}

}  // namespace branchsae::apps
