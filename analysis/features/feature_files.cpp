#include "analysis/features/feature_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

namespace branchsae {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json number(const std::optional<double>& value) {
  return value ? number(*value) : Json(nullptr);
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

/// crops, heats: file names by score, or empty.
Json scores_json(const FeatureTable& table, const std::vector<ImageScore>& scores,
                 const std::vector<std::string>& crops, const std::vector<std::string>& heats,
                 const ImageSource& images) {
  Json list = Json::array();
  for (size_t i = 0; i < scores.size(); ++i) {
    const ImageScore& score = scores[i];
    Json entry{{"image", images.info(score.image).name},
               {"index", score.image},
               {"y", score.position / table.grid[1]},
               {"x", score.position % table.grid[1]},
               {"value", score.max}};
    if (i < crops.size()) entry["crop"] = crops[i];
    if (i < heats.size()) entry["heat"] = heats[i];
    list.push_back(std::move(entry));
  }
  return list;
}

/// From the first bin that holds something to the last.
Json histogram_json(const ValueHistogram& histogram) {
  const auto filled = [](int64_t count) { return count > 0; };
  const auto first = std::ranges::find_if(histogram.counts, filled);
  if (first == histogram.counts.end()) return nullptr;
  auto last = histogram.counts.end();
  while (last[-1] == 0) --last;
  const auto bin = static_cast<int>(first - histogram.counts.begin());
  return {{"from", ValueHistogram::lower_edge(bin)},
          {"factor", std::numbers::sqrt2},
          {"counts", std::vector<int64_t>(first, last)}};
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
  json["histogram"] = histogram_json(row.histogram);
  const FeaturePictures& pictures = row.pictures;
  json["top"] = scores_json(table, row.top, pictures.top_crops, pictures.top_heats, images);
  if (!pictures.sheet.empty()) {
    json["quantiles"] =
        scores_json(table, pictures.quantiles, pictures.quantile_crops, pictures.quantile_heats, images);
    json["sheet"] = pictures.sheet;
  }
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

std::string features_json(const FeatureTable& table, const ImageSource& images, const std::string& about) {
  Json json = Json::parse(about);
  json["images"] = table.images;
  json["tokens"] = table.tokens;
  json["labelled"] = table.labelled;
  json["labels"] = table.no_labels.empty() ? Json("WordNet 3.0") : Json(table.no_labels);
  json["tests"] = {{"auroc", "Mann-Whitney, normal approximation with ties, two-sided, n images"},
                   {"label", "hypergeometric tail over the top 50 images"},
                   {"correction", "Benjamini-Hochberg over live latents (auroc), over synsets (label)"}};
  const auto text_of = [](const Json& part) {
    return part.dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  // Row by row: the whole as one document in memory would take many times the room of its text.
  std::string text = text_of(json);
  text.pop_back();
  text += ",\n\"features\":[";
  for (const FeatureRow& row : table.rows) {
    text += row.latent == 0 ? "\n" : ",\n";
    text += text_of(row_json(table, row, images));
  }
  return text + "\n]}\n";
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
