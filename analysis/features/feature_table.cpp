#include "analysis/features/feature_table.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "analysis/features/responses.h"
#include "engine/error.h"

namespace branchsae {
namespace {

using Json = nlohmann::ordered_json;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr Eigen::Index kRowsAtOnce = 256;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json number(const std::optional<double>& value) {
  return value ? number(*value) : Json(nullptr);
}

void describe(FeatureRow& row, const ImageScores& scores) {
  const LatentActivity& activity = scores.activity(row.latent);
  row.density = static_cast<double>(activity.tokens_fired) / static_cast<double>(scores.tokens());
  row.image_density = static_cast<double>(activity.images.size()) / static_cast<double>(scores.images());
  for (const ImageScore& score : activity.images) row.max = std::max(row.max, static_cast<double>(score.max));
  if (activity.tokens_fired > 0) row.mean = activity.sum / static_cast<double>(activity.tokens_fired);
}

void add_concept(FeatureTable& table, const ImageScores& scores, const Concept& c) {
  if (c.shown_count == 0 || c.shown_count == c.known_count) return;  // nothing to tell apart
  std::vector<Selectivity> of_latents;
  for (const FeatureRow& row : table.rows) of_latents.push_back(selectivity(scores.activity(row.latent), c));
  adjust(of_latents, scores);
  for (FeatureRow& row : table.rows) row.concepts[c.name] = of_latents[static_cast<size_t>(row.latent)];
}

void add_labels(FeatureTable& table, const ImageScores& scores, const ImageSynsets& labels) {
  table.labelled = labels.labelled();
  add_concept(table, scores, concept_below(labels, kAnimal, "animal"));
  add_concept(table, scores, concept_below(labels, kDog, "dog"));
  const Enrichment enrichment(labels, {});
  for (FeatureRow& row : table.rows) {
    row.label = enrichment.label(scores.activity(row.latent));
    row.entropy = label_entropy(scores.activity(row.latent), labels);
  }
}

Json label_json(const std::optional<LatentLabel>& label) {
  if (!label) return nullptr;
  return {{"synset", label->wordnet_id},
          {"name", label->name},
          {"k", label->hits},
          {"K", label->images},
          {"N", label->top},
          {"p", label->p},
          {"q", label->q},
          {"ic", label->information}};
}

Json selectivity_json(const Selectivity& s) {
  return {{"auroc", number(s.ranks.auroc)},
          {"z", number(s.ranks.z)},
          {"p", number(s.ranks.p)},
          {"q", number(s.q)},
          {"r", number(s.r)},
          {"lift", number(s.lift)},
          {"top_share", number(s.top_share)},
          {"n1", s.ranks.labelled},
          {"n0", s.ranks.others}};
}

Json top_json(const FeatureTable& table, const FeatureRow& row, const ImageSource& images) {
  Json top = Json::array();
  for (const ImageScore& score : row.top) {
    top.push_back({{"image", images.info(score.image).name},
                   {"index", score.image},
                   {"y", score.position / table.grid[1]},
                   {"x", score.position % table.grid[1]},
                   {"value", score.max}});
  }
  return top;
}

Json row_json(const FeatureTable& table, const FeatureRow& row, const ImageSource& images) {
  Json json{{"id", row.latent},
            {"density", row.density},
            {"image_density", row.image_density},
            {"max", row.max},
            {"mean", row.mean}};
  const auto animal = row.concepts.find("animal");
  const bool known = animal != row.concepts.end();
  json["auroc"] = known ? number(animal->second.ranks.auroc) : Json(nullptr);
  json["q"] = known ? number(animal->second.q) : Json(nullptr);
  json["r"] = known ? number(animal->second.r) : Json(nullptr);
  json["lift"] = known ? number(animal->second.lift) : Json(nullptr);
  json["concepts"] = Json::object();
  for (const auto& [name, selectivity] : row.concepts) json["concepts"][name] = selectivity_json(selectivity);
  json["label"] = label_json(row.label);
  json["entropy"] = number(row.entropy);
  json["colour_index"] = number(row.colour_index);
  json["orientation"] = number(row.orientation);
  json["top"] = top_json(table, row, images);
  json["neighbours"] = Json::array();
  for (const FeatureNeighbour& n : row.neighbours)
    json["neighbours"].push_back({{"id", n.latent}, {"cosine", n.cosine}});
  return json;
}

std::string csv_number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? fmt::format("{}", *value) : "";
}

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string csv_line(const FeatureRow& row) {
  const auto of = [&row](const char* name, auto field) -> std::optional<double> {
    const auto found = row.concepts.find(name);
    return found == row.concepts.end() ? std::nullopt : std::optional<double>(field(found->second));
  };
  const auto auroc = [](const Selectivity& s) { return s.ranks.auroc; };
  const auto q = [](const Selectivity& s) { return s.q; };
  const auto r = [](const Selectivity& s) { return s.r; };
  const auto lift = [](const Selectivity& s) { return s.lift; };
  const auto share = [](const Selectivity& s) { return s.top_share; };
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", row.latent, row.density,
                     row.image_density, row.max, row.mean, csv_number(of("animal", auroc)),
                     csv_number(of("animal", q)), csv_number(of("animal", r)), csv_number(of("animal", lift)),
                     csv_number(of("animal", share)), csv_number(of("dog", auroc)), csv_number(of("dog", q)),
                     row.label ? row.label->wordnet_id : "", row.label ? csv_text(row.label->name) : "",
                     row.label ? fmt::format("{}", row.label->q) : "", csv_number(row.entropy),
                     csv_number(row.colour_index), csv_number(row.orientation));
}

}  // namespace

FeatureTable feature_table(const ImageScores& scores, std::array<int64_t, 2> grid, const ImageSynsets* labels,
                           const FeatureVariants& variants, size_t top) {
  if (scores.images() == 0) throw InputError("no image was read: there is nothing to say of any feature");
  FeatureTable table{.images = scores.images(), .tokens = scores.tokens(), .grid = grid};
  for (int64_t i = 0; i < scores.latents(); ++i) {
    FeatureRow row{.latent = i};
    describe(row, scores);
    const LatentActivity& activity = scores.activity(i);
    row.top = activity.top(top);
    if (variants.grey != nullptr) row.colour_index = colour_index(activity, variants.grey->activity(i));
    if (variants.mirrored != nullptr)
      row.orientation = orientation_index(activity, variants.mirrored->activity(i));
    table.rows.push_back(std::move(row));
  }
  if (labels != nullptr && labels->labelled() > 0) {
    add_labels(table, scores, *labels);
  } else {
    table.no_labels = "no image has a class by WordNet id: give labelled images, or --classes";
  }
  return table;
}

void add_neighbours(FeatureTable& table, View<const float, 2> decoder, size_t count) {
  const auto n = static_cast<Eigen::Index>(decoder.shape[0]), d = static_cast<Eigen::Index>(decoder.shape[1]);
  if (static_cast<size_t>(n) != table.rows.size())
    throw ShapeError(fmt::format("a decoder of {} rows beside {} latents", n, table.rows.size()));
  Matrix rows(n, d);
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j < d; ++j) rows(i, j) = decoder(i, j);
    if (const float norm = rows.row(i).norm(); norm > 0) rows.row(i) /= norm;
  }
  for (Eigen::Index first = 0; first < n; first += kRowsAtOnce) {
    const Eigen::Index height = std::min(kRowsAtOnce, n - first);
    const Matrix cosines = rows.middleRows(first, height) * rows.transpose();
    for (Eigen::Index i = 0; i < height; ++i) {
      const Eigen::Index self = first + i;
      if (rows.row(self).isZero(0)) continue;
      std::vector<int32_t> order;
      for (Eigen::Index j = 0; j < n; ++j) {
        if (j != self && !rows.row(j).isZero(0)) order.push_back(static_cast<int32_t>(j));
      }
      const size_t kept = std::min(count, order.size());
      std::ranges::partial_sort(
          order, order.begin() + static_cast<std::ptrdiff_t>(kept), [&](int32_t a, int32_t b) {
            return cosines(i, a) != cosines(i, b) ? cosines(i, a) > cosines(i, b) : a < b;
          });
      for (size_t j = 0; j < kept; ++j)
        table.rows[static_cast<size_t>(self)].neighbours.push_back({order[j], cosines(i, order[j])});
    }
  }
}

std::string features_json(const FeatureTable& table, const ImageSource& images, const std::string& about) {
  Json json = Json::parse(about);
  json["images"] = table.images;
  json["tokens"] = table.tokens;
  json["labelled"] = table.labelled;
  json["labels"] = table.no_labels.empty() ? Json("WordNet 3.0") : Json(table.no_labels);
  json["tests"] = {{"auroc", "Mann-Whitney, normal approximation with ties, two-sided, n images"},
                   {"label", "hypergeometric tail over the top 50 images"},
                   {"correction", "Benjamini-Hochberg over live latents (auroc), over synsets (label)"}};
  json["features"] = Json::array();
  for (const FeatureRow& row : table.rows) json["features"].push_back(row_json(table, row, images));
  return json.dump() + "\n";
}

std::string features_csv(const FeatureTable& table) {
  std::string text =
      "id,density,image_density,max,mean,animal_auroc,animal_q,animal_r,animal_lift,animal_top_share,dog_"
      "auroc,"
      "dog_q,label_synset,label_name,label_q,entropy,colour_index,orientation\n";
  for (const FeatureRow& row : table.rows) text += csv_line(row);
  return text;
}

}  // namespace branchsae
