#include "analysis/branches/branch_scan.h"

#include <algorithm>
#include <numeric>

#include "analysis/branches/random_dictionary.h"
#include "analysis/features/code_pass.h"
#include "analysis/features/image_variants.h"
#include "analysis/features/scan.h"
#include "engine/error.h"
#include "model/precision.h"

namespace branchsae {
namespace {

/// A batch's codes of one image after another.
void add_images(ImageScores& scores, const CodeBatch& batch, View<const float, 2> values,
                View<const int32_t, 2> indices) {
  for (size_t i = 0; i < batch.images.size(); ++i) {
    scores.add(static_cast<int32_t>(batch.images[i]), values.rows(batch.first(i), batch.tokens_per_image),
               indices.rows(batch.first(i), batch.tokens_per_image));
  }
}

/// The channels as codes of their own: every one is kept.
class NeuronCodes {
 public:
  explicit NeuronCodes(int64_t width) : numbers_(static_cast<size_t>(width)) {
    std::iota(numbers_.begin(), numbers_.end(), 0);
  }
  void add(ImageScores& scores, const CodeBatch& batch) const {
    const View<const int32_t, 2> indices(numbers_.data(), batch.tokens.shape, {0, 1});
    add_images(scores, batch, batch.tokens, indices);
  }

 private:
  std::vector<int32_t> numbers_;
};

struct ChannelSums {
  std::vector<double> sum, squares;
  int64_t tokens = 0;

  void add(View<const float, 2> rows) {
    sum.resize(static_cast<size_t>(rows.shape[1]));
    squares.resize(sum.size());
    tokens += rows.shape[0];
    for (int64_t t = 0; t < rows.shape[0]; ++t) {
      for (int64_t c = 0; c < rows.shape[1]; ++c) {
        const auto value = static_cast<double>(rows(t, c));
        sum[static_cast<size_t>(c)] += value;
        squares[static_cast<size_t>(c)] += value * value;
      }
    }
  }
  void tell(BranchScan& scan) const {
    const auto count = static_cast<double>(std::max<int64_t>(tokens, 1));
    for (const double value : sum) scan.channel_mean.push_back(static_cast<float>(value / count));
    for (const double value : squares) scan.channel_energy.push_back(value / count);
  }
};

class Passes {
 public:
  Passes(const Device& device, const Graph& graph, const ImageSource& images,
         const std::vector<SaeFile>& saes, const BranchScanOptions& options)
      : device_(device), graph_(graph), images_(images), saes_(saes), options_(options) {
    for (size_t i = 0; i < saes.size(); ++i) {
      const auto same = std::ranges::find(saes, saes[i].tap, &SaeFile::tap);
      first_of_tap_.push_back(static_cast<size_t>(same - saes.begin()));
    }
  }

  BranchScans run(const std::function<EvaluateCallbacks()>& next_pass) {
    originals(next_pass());
    if (options_.colour && !result_.stopped) variant(ImageVariant::kGrey, next_pass());
    if (options_.orientation && !result_.stopped) variant(ImageVariant::kMirrored, next_pass());
    if (options_.causal && !result_.stopped) causal(next_pass());
    return std::move(result_);
  }

 private:
  bool tells_neurons(size_t sae) const { return first_of_tap_[sae] == sae; }

  /// Autoencoders and random dictionaries take turns: number 2 i and 2 i + 1.
  std::vector<SaeFile> with_dictionaries() const {
    std::vector<SaeFile> all;
    for (size_t i = 0; i < saes_.size(); ++i) {
      const SaeFile& sae = saes_[i];
      all.push_back({sae.spec, copy_of(sae.parameters), sae.tap, sae.model_sha256, sae.preprocess});
      all.push_back(random_dictionary(sae, options_.random_rows, options_.seed));
    }
    return all;
  }
  static SaeParameters copy_of(const SaeParameters& p) {
    return {p.w.clone(), p.w_dec.clone(), p.b_enc.clone(), p.b_pre.clone(), p.scale};
  }

  void make_scans(const CodePass& pass, const std::vector<SaeFile>& all) {
    for (size_t i = 0; i < saes_.size(); ++i) {
      const int64_t positions = pass.tokens_per_image(2 * i);
      BranchScan scan{.latents = {ImageScores(saes_[i].spec.n, positions)},
                      .random = {ImageScores(all[2 * i + 1].spec.n, positions)}};
      scan.branches = tap_branches(graph_, resolve_tap(graph_, saes_[i].tap));
      scan.neurons = tells_neurons(i)
                         ? std::make_shared<SubjectScores>(ImageScores(saes_[i].spec.d, positions))
                         : result_.scans[first_of_tap_[i]].neurons;
      result_.scans.push_back(std::move(scan));
    }
  }

  void originals(const EvaluateCallbacks& callbacks) {
    std::vector<SaeFile> all = with_dictionaries();
    CodePass pass(device_, graph_, images_, all, options_.evaluate);
    make_scans(pass, all);
    std::vector<ChannelSums> channels(saes_.size());
    std::vector<std::unique_ptr<EvidenceSums>> evidence;
    for (size_t i = 0; i < saes_.size(); ++i) {
      const auto groups = channel_groups(result_.scans[i].branches);
      evidence.push_back(std::make_unique<EvidenceSums>(saes_[i], groups, device_.backend().threads()));
    }
    const CodePassResult read = pass.run(
        [&](const CodeBatch& batch) {
          const size_t i = batch.sae / 2;
          BranchScan& scan = result_.scans[i];
          if (batch.sae % 2 == 1) return add_images(scan.random.original, batch, batch.values, batch.indices);
          add_images(scan.latents.original, batch, batch.values, batch.indices);
          channels[i].add(batch.tokens);
          if (tells_neurons(i)) NeuronCodes(saes_[i].spec.d).add(scan.neurons->original, batch);
          if (scan.branches.size() > 1) evidence[i]->add(batch.tokens, batch.values, batch.indices);
        },
        callbacks);
    result_.images = read.images;
    result_.skipped = read.skipped;
    result_.stopped = read.stopped;
    for (size_t i = 0; i < saes_.size(); ++i) {
      channels[i].tell(result_.scans[i]);
      if (result_.scans[i].branches.size() > 1) result_.scans[i].evidence = evidence[i]->shares();
      result_.scans[i].dictionary = std::move(all[2 * i + 1]);
    }
  }

  void variant(ImageVariant which, const EvaluateCallbacks& callbacks) {
    const auto changed = [which](SubjectScores& scores) -> std::optional<ImageScores>& {
      return which == ImageVariant::kGrey ? scores.grey : scores.mirrored;
    };
    const auto prepare = [&](SubjectScores& scores) {
      changed(scores).emplace(scores.original.positions(), best_images(scores.original));
    };
    for (size_t i = 0; i < saes_.size(); ++i) {
      prepare(result_.scans[i].latents);
      prepare(result_.scans[i].random);
      if (tells_neurons(i)) prepare(*result_.scans[i].neurons);
    }
    const VariantImages images(images_, which);
    const std::vector<SaeFile> all = with_dictionaries();
    CodePass pass(device_, graph_, images, all, options_.evaluate);
    const CodePassResult read = pass.run(
        [&](const CodeBatch& batch) {
          BranchScan& scan = result_.scans[batch.sae / 2];
          if (batch.sae % 2 == 1)
            return add_images(*changed(scan.random), batch, batch.values, batch.indices);
          add_images(*changed(scan.latents), batch, batch.values, batch.indices);
          if (tells_neurons(batch.sae / 2))
            NeuronCodes(saes_[batch.sae / 2].spec.d).add(*changed(*scan.neurons), batch);
        },
        callbacks);
    result_.stopped = read.stopped;
  }

  void causal(const EvaluateCallbacks& callbacks) {
    constexpr int64_t kRows = 4096;
    const SaePrecision precision = offered_precision(device_.backend(), options_.evaluate.precision);
    CodePass pass(device_, graph_, images_, saes_, options_.evaluate);
    std::vector<std::unique_ptr<CausalSums>> sums(saes_.size());
    for (size_t i = 0; i < saes_.size(); ++i) {
      const BranchScan& scan = result_.scans[i];
      if (scan.branches.size() < 2) continue;
      sums[i] =
          std::make_unique<CausalSums>(device_, saes_[i], saes_[i].spec.k, channel_groups(scan.branches),
                                       scan.channel_mean, kRows, precision);
    }
    const auto stream = device_.make_stream();
    const CodePassResult read = pass.run(
        [&](const CodeBatch& batch) {
          if (sums[batch.sae]) sums[batch.sae]->add_sync(*stream, batch.tokens, batch.values, batch.indices);
        },
        callbacks);
    result_.stopped = read.stopped;
    for (size_t i = 0; i < saes_.size(); ++i) {
      if (sums[i]) result_.scans[i].causal = sums[i]->shares();
    }
  }

  const Device& device_;
  const Graph& graph_;
  const ImageSource& images_;
  const std::vector<SaeFile>& saes_;
  const BranchScanOptions& options_;
  std::vector<size_t> first_of_tap_;
  BranchScans result_;
};

}  // namespace

BranchScans scan_branches(const Device& device, const Graph& graph, const ImageSource& images,
                          const std::vector<SaeFile>& saes, const BranchScanOptions& options,
                          const std::function<EvaluateCallbacks()>& next_pass) {
  return Passes(device, graph, images, saes, options).run(next_pass);
}

}  // namespace branchsae
