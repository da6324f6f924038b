#include "analysis/features/feature_table.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <span>

#include "analysis/features/responses.h"
#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr Eigen::Index kRowsAtOnce = 256;

void describe(FeatureRow& row, const ImageScores& scores) {
  const LatentActivity& activity = scores.activity(row.latent);
  row.density = static_cast<double>(activity.tokens_fired) / static_cast<double>(scores.tokens());
  row.image_density = static_cast<double>(activity.images.size()) / static_cast<double>(scores.images());
  for (const ImageScore& score : activity.images) row.max = std::max(row.max, static_cast<double>(score.max));
  row.histogram = activity.histogram;
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

/// The largest cosines but for the row's own and those of zero rows; ties by number.
std::vector<FeatureNeighbour> nearest(std::span<const float> cosines, int64_t self,
                                      const std::vector<bool>& zero, size_t count) {
  std::vector<int32_t> order;
  for (size_t j = 0; j < cosines.size(); ++j) {
    if (static_cast<int64_t>(j) != self && !zero[j]) order.push_back(static_cast<int32_t>(j));
  }
  const auto cosine = [cosines](int32_t j) { return cosines[static_cast<size_t>(j)]; };
  const auto kept = static_cast<std::ptrdiff_t>(std::min(count, order.size()));
  std::ranges::partial_sort(order, order.begin() + kept, [&](int32_t a, int32_t b) {
    return cosine(a) != cosine(b) ? cosine(a) > cosine(b) : a < b;
  });
  std::vector<FeatureNeighbour> neighbours;
  for (auto j = order.begin(); j != order.begin() + kept; ++j) neighbours.push_back({*j, cosine(*j)});
  return neighbours;
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

void add_neighbours(FeatureTable& table, View<const float, 2> decoder, size_t count, int threads) {
  const auto n = static_cast<Eigen::Index>(decoder.shape[0]), d = static_cast<Eigen::Index>(decoder.shape[1]);
  if (static_cast<size_t>(n) != table.rows.size())
    throw ShapeError(fmt::format("a decoder of {} rows beside {} latents", n, table.rows.size()));
  Matrix rows(n, d);
  std::vector<bool> zero(static_cast<size_t>(n));
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j < d; ++j) rows(i, j) = decoder(i, j);
    const float norm = rows.row(i).norm();
    zero[static_cast<size_t>(i)] = !(norm > 0);
    if (norm > 0) rows.row(i) /= norm;
  }
  on_threads(threads, (n + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t block) {
    const Eigen::Index first = block * kRowsAtOnce, height = std::min(kRowsAtOnce, n - first);
    const Matrix cosines = rows.middleRows(first, height) * rows.transpose();
    for (Eigen::Index i = 0; i < height; ++i) {
      if (!zero[static_cast<size_t>(first + i)])
        table.rows[static_cast<size_t>(first + i)].neighbours =
            nearest({cosines.row(i).data(), static_cast<size_t>(n)}, first + i, zero, count);
    }
  });
}

}  // namespace branchsae
