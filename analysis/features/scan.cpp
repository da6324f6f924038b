#include "analysis/features/scan.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/features/code_pass.h"
#include "analysis/features/responses.h"
#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae {
namespace {

void check_ascending(const std::vector<int64_t>& images) {
  if (std::ranges::adjacent_find(images, std::greater_equal<>()) != images.end())
    throw InputError("images are scanned in ascending order, each once");
}

/// Sums over tokens of what the scan says about the input.
struct InputSums {
  std::vector<double> squares;
  int64_t tokens = 0, nonzeros = 0;

  void add(View<const float, 2> rows) {
    squares.resize(static_cast<size_t>(rows.shape[1]));
    tokens += rows.shape[0];
    for (int64_t t = 0; t < rows.shape[0]; ++t) {
      for (int64_t c = 0; c < rows.shape[1]; ++c) {
        const auto value = static_cast<double>(rows(t, c));
        squares[static_cast<size_t>(c)] += value * value;
        nonzeros += value != 0 ? 1 : 0;
      }
    }
  }
  void tell(FeatureScan& scan) const {
    const auto count = static_cast<double>(std::max<int64_t>(tokens, 1));
    for (double sum : squares) scan.channel_energy.push_back(sum / count);
    scan.input_l0 = static_cast<double>(nonzeros) / count;
  }
};

void add_codes(CodeStore& codes, const CodeBatch& batch) {
  const int64_t positions = batch.tokens_per_image;
  for (size_t i = 0; i < batch.images.size(); ++i)
    codes.add_image(batch.values.rows(batch.first(i), positions),
                    batch.indices.rows(batch.first(i), positions));
}

/// Room for the codes of so many images, when all of them fit.
void reserve_codes(std::vector<FeatureScan>& scans, int64_t images, int64_t most_bytes) {
  int64_t bytes = 0;
  for (const FeatureScan& scan : scans) bytes += CodeStore::bytes(images * scan.scores.positions(), scan.k);
  if (bytes > most_bytes) return;
  for (FeatureScan& scan : scans) {
    scan.codes.emplace(scan.scores.latents(), scan.scores.positions());
    scan.codes->reserve(images * scan.scores.positions(), scan.k);
  }
}

/// Where each autoencoder's scans begin among all.
std::vector<size_t> first_scans(const CodePass& pass, size_t saes) {
  std::vector<size_t> first(1, 0);
  for (size_t i = 0; i < saes; ++i) first.push_back(first.back() + pass.ks(i).size());
  return first;
}

size_t place_of(const CodePass& pass, const CodeBatch& batch) {
  const auto& ks = pass.ks(batch.sae);
  return static_cast<size_t>(std::ranges::find(ks, batch.k) - ks.begin());
}

}  // namespace

FeatureScans scan_features(const Device& device, const Graph& graph, const ImageSource& images,
                           const std::vector<SaeFile>& saes, const EvaluateOptions& options,
                           const EvaluateCallbacks& callbacks, int64_t code_bytes) {
  check_ascending(options.images);
  CodePass pass(device, graph, images, saes, options);
  FeatureScans result;
  for (size_t i = 0; i < saes.size(); ++i) {
    for (int64_t k : pass.ks(i)) {
      result.scans.push_back({.sae = i,
                              .k = k,
                              .scores = ImageScores(saes[i].spec.n, pass.tokens_per_image(i)),
                              .grid = pass.grid(i)});
    }
  }
  reserve_codes(result.scans, std::ssize(options.images), code_bytes);
  const std::vector<size_t> first = first_scans(pass, saes.size());
  std::vector<InputSums> inputs(saes.size());
  CodePassResult read = pass.run(
      [&](const CodeBatch& batch) {
        const size_t place = place_of(pass, batch);
        if (place == 0) inputs[batch.sae].add(batch.tokens);
        FeatureScan& scan = result.scans[first[batch.sae] + place];
        scan.scores.add(batch.images, batch.values, batch.indices, device.backend().threads());
        if (scan.codes) add_codes(*scan.codes, batch);
        if (&scan == result.scans.data())
          result.read.insert(result.read.end(), batch.images.begin(), batch.images.end());
      },
      callbacks);
  for (FeatureScan& scan : result.scans) inputs[scan.sae].tell(scan);
  result.images = read.images;
  result.skipped = std::move(read.skipped);
  result.stopped = read.stopped;
  return result;
}

std::vector<std::vector<int32_t>> best_images(const ImageScores& scores, int threads) {
  std::vector<std::vector<int32_t>> best(static_cast<size_t>(scores.latents()));
  on_threads(threads, scores.latents(), [&](int64_t i) {
    std::vector<int32_t>& images = best[static_cast<size_t>(i)];
    for (const ImageScore& score : scores.activity(i).top(kResponseTop)) images.push_back(score.image);
    std::ranges::sort(images);
  });
  return best;
}

VariantScan scan_variant(const Device& device, const Graph& graph, const ImageSource& variant,
                         const std::vector<SaeFile>& saes, const FeatureScans& originals,
                         const EvaluateOptions& options, const EvaluateCallbacks& callbacks) {
  check_ascending(options.images);
  CodePass pass(device, graph, variant, saes, options);
  const std::vector<size_t> first = first_scans(pass, saes.size());
  if (first.back() != originals.scans.size())
    throw InputError("the other version of the images is scanned with other autoencoders");
  VariantScan result;
  for (const FeatureScan& scan : originals.scans)
    result.scores.emplace_back(scan.scores.positions(), best_images(scan.scores, device.backend().threads()));
  const CodePassResult read = pass.run(
      [&](const CodeBatch& batch) {
        result.scores[first[batch.sae] + place_of(pass, batch)].add(batch.images, batch.values, batch.indices,
                                                                    device.backend().threads());
      },
      callbacks);
  result.stopped = read.stopped;
  return result;
}

}  // namespace branchsae
