#include "analysis/branches/branch_scan.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "analysis/branches/random_dictionary.h"
#include "analysis/features/code_pass.h"
#include "analysis/features/image_variants.h"
#include "analysis/features/kept_tokens.h"
#include "analysis/features/scan.h"
#include "engine/error.h"
#include "engine/network_checks.h"
#include "engine/passes.h"
#include "model/precision.h"

namespace branchsae {
namespace {

/// The channels as codes of their own: every one is kept.
class NeuronCodes {
 public:
  explicit NeuronCodes(int64_t width) : numbers_(static_cast<size_t>(width)) {
    std::iota(numbers_.begin(), numbers_.end(), 0);
  }
  void add(ImageScores& scores, const CodeBatch& batch, int threads) const {
    const View<const int32_t, 2> indices(numbers_.data(), batch.tokens.shape, {0, 1});
    scores.add(batch.images, batch.tokens, indices, threads);
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

/// A pass's tokens, once a tap, and codes, as long as they fit into memory; then nothing.
class KeptPass {
 public:
  explicit KeptPass(int64_t most_bytes) : most_(most_bytes) {}

  /// first: the first autoencoder of its tap.
  void add(const CodeBatch& batch, size_t sae, size_t first) {
    if (!complete_) return;
    if (sae == first) tokens_.try_emplace(sae, batch.tokens.shape[1]).first->second.add(batch.tokens);
    codes_[sae].add(batch.values, batch.indices);
    if (memory_bytes() <= most_) return;
    complete_ = false;
    tokens_.clear();
    codes_.clear();
  }
  bool complete() const { return complete_; }
  int64_t batches() const { return tokens_.empty() ? 0 : tokens_.begin()->second.batches(); }
  const KeptTokens& tokens(size_t first) const { return tokens_.at(first); }
  const KeptCodes& codes(size_t sae) const { return codes_.at(sae); }

 private:
  int64_t memory_bytes() const {
    int64_t bytes = 0;
    for (const auto& [sae, tokens] : tokens_) bytes += tokens.memory_bytes();
    for (const auto& [sae, codes] : codes_) bytes += codes.memory_bytes();
    return bytes;
  }

  int64_t most_;
  bool complete_ = true;
  std::map<size_t, KeptTokens> tokens_;  ///< by the first autoencoder of a tap
  std::map<size_t, KeptCodes> codes_;    ///< by autoencoder
};

class Passes {
 public:
  Passes(const Device& device, const Graph& graph, const ImageSource& images,
         const std::vector<SaeFile>& saes, const BranchScanOptions& options)
      : device_(device),
        graph_(graph),
        images_(images),
        saes_(saes),
        options_(options),
        kept_(options.kept_bytes) {
    for (size_t i = 0; i < saes.size(); ++i) {
      const auto same = std::ranges::find(saes, saes[i].tap, &SaeFile::tap);
      first_of_tap_.push_back(static_cast<size_t>(same - saes.begin()));
      branches_.push_back(tap_branches(graph, resolve_tap(graph, saes[i].tap)));
    }
  }

  BranchScans run(const std::function<EvaluateCallbacks()>& next_pass) {
    originals(next_pass());
    if (options_.colour && !result_.stopped) variant(ImageVariant::kGrey, next_pass());
    if (options_.orientation && !result_.stopped) variant(ImageVariant::kMirrored, next_pass());
    const bool shares = std::ranges::any_of(branches_, [](const auto& all) { return all.size() > 1; });
    if (options_.causal && shares && !result_.stopped) causal(next_pass());
    return std::move(result_);
  }

 private:
  int threads() const { return device_.backend().threads(); }
  bool tells_neurons(size_t sae) const { return first_of_tap_[sae] == sae && branches_[sae].size() > 1; }

  /// An autoencoder of the pass, or the random dictionary beside it.
  struct Role {
    size_t scan = 0;
    bool random = false;
  };

  /// What a pass encodes with: copies, since a pass wants them side by side. Sets roles_.
  std::vector<SaeFile> with_dictionaries() {
    std::vector<SaeFile> all;
    roles_.clear();
    for (size_t i = 0; i < saes_.size(); ++i) {
      all.push_back(copy_with_k(saes_[i], saes_[i].spec.k));
      roles_.push_back({i, false});
      if (branches_[i].size() < 2) continue;
      all.push_back(random_dictionary(saes_[i], options_.random_rows, options_.seed));
      roles_.push_back({i, true});
    }
    return all;
  }
  void make_scans(const CodePass& pass, const std::vector<SaeFile>& all) {
    for (size_t target = 0; target < all.size(); ++target) {
      const int64_t positions = pass.tokens_per_image(target);
      const SubjectScores scores{ImageScores(all[target].spec.n, positions)};
      if (roles_[target].random) {
        result_.scans.back().random = scores;
        continue;
      }
      const size_t i = roles_[target].scan;
      BranchScan scan{.branches = branches_[i], .latents = scores};
      if (tells_neurons(i)) {
        scan.neurons = std::make_shared<SubjectScores>(ImageScores(saes_[i].spec.d, positions));
      } else if (branches_[i].size() > 1) {
        scan.neurons = result_.scans[first_of_tap_[i]].neurons;
      }
      result_.scans.push_back(std::move(scan));
    }
  }

  void originals(const EvaluateCallbacks& callbacks) {
    std::vector<SaeFile> all = with_dictionaries();
    CodePass pass(device_, graph_, images_, all, options_.evaluate);
    make_scans(pass, all);
    std::vector<ChannelSums> channels(saes_.size());
    std::vector<std::unique_ptr<EvidenceSums>> evidence(saes_.size());
    for (size_t i = 0; i < saes_.size(); ++i) {
      if (branches_[i].size() > 1)
        evidence[i] = std::make_unique<EvidenceSums>(saes_[i], channel_groups(branches_[i]), threads());
    }
    const CodePassResult read = pass.run(
        [&](const CodeBatch& batch) {
          const auto [i, random] = roles_[batch.sae];
          BranchScan& scan = result_.scans[i];
          ImageScores& scores = random ? scan.random->original : scan.latents.original;
          scores.add(batch.images, batch.values, batch.indices, threads());
          if (random) return;
          channels[i].add(batch.tokens);
          if (tells_neurons(i)) NeuronCodes(saes_[i].spec.d).add(scan.neurons->original, batch, threads());
          if (!evidence[i]) return;
          evidence[i]->add(batch.tokens, batch.values, batch.indices);
          if (options_.causal) kept_.add(batch, i, first_of_tap_[i]);
        },
        callbacks);
    result_.images = read.images;
    result_.skipped = read.skipped;
    result_.stopped = read.stopped;
    for (size_t target = 0; target < all.size(); ++target) {
      const auto [i, random] = roles_[target];
      if (random) {
        result_.scans[i].dictionary = std::move(all[target]);
        continue;
      }
      channels[i].tell(result_.scans[i]);
      if (evidence[i]) result_.scans[i].evidence = evidence[i]->shares();
    }
  }

  void variant(ImageVariant which, const EvaluateCallbacks& callbacks) {
    const auto changed = [which](SubjectScores& scores) -> std::optional<ImageScores>& {
      return which == ImageVariant::kGrey ? scores.grey : scores.mirrored;
    };
    const auto prepare = [&](SubjectScores& scores) {
      changed(scores).emplace(scores.original.positions(), best_images(scores.original, threads()));
    };
    for (size_t i = 0; i < saes_.size(); ++i) {
      BranchScan& scan = result_.scans[i];
      prepare(scan.latents);
      if (scan.random) prepare(*scan.random);
      if (tells_neurons(i)) prepare(*scan.neurons);
    }
    const VariantImages images(images_, which);
    const std::vector<SaeFile> all = with_dictionaries();
    CodePass pass(device_, graph_, images, all, options_.evaluate);
    const CodePassResult read = pass.run(
        [&](const CodeBatch& batch) {
          const auto [i, random] = roles_[batch.sae];
          BranchScan& scan = result_.scans[i];
          changed(random ? *scan.random : scan.latents)
              ->add(batch.images, batch.values, batch.indices, threads());
          if (!random && tells_neurons(i))
            NeuronCodes(saes_[i].spec.d).add(*changed(*scan.neurons), batch, threads());
        },
        callbacks);
    result_.stopped = read.stopped;
  }

  using CausalByScan = std::vector<std::unique_ptr<CausalSums>>;

  void causal(const EvaluateCallbacks& callbacks) {
    constexpr int64_t kRows = 4096;
    const SaePrecision precision = offered_precision(device_.backend(), options_.evaluate.precision);
    CausalByScan sums(saes_.size());
    for (size_t i = 0; i < saes_.size(); ++i) {
      const BranchScan& scan = result_.scans[i];
      if (scan.branches.size() < 2) continue;
      sums[i] =
          std::make_unique<CausalSums>(device_, saes_[i], saes_[i].spec.k, channel_groups(scan.branches),
                                       scan.channel_mean, kRows, precision);
    }
    result_.stopped =
        kept_.complete() ? !causal_of_kept(sums, callbacks) : !causal_of_images(sums, callbacks);
    for (size_t i = 0; i < saes_.size(); ++i) {
      if (sums[i]) result_.scans[i].causal = sums[i]->shares();
    }
  }

  /// Both return false when they were stopped.
  bool causal_of_images(const CausalByScan& sums, const EvaluateCallbacks& callbacks) {
    CodePass pass(device_, graph_, images_, saes_, options_.evaluate);
    const auto stream = device_.make_stream();
    const CodePassResult read = pass.run(
        [&](const CodeBatch& batch) {
          if (sums[batch.sae]) sums[batch.sae]->add_sync(*stream, batch.tokens, batch.values, batch.indices);
        },
        callbacks);
    return !read.stopped;
  }
  bool causal_of_kept(const CausalByScan& sums, const EvaluateCallbacks& callbacks) {
    const auto stream = device_.make_stream();
    std::vector<float> memory;
    int64_t images = 0;
    for (int64_t number = 0; number < kept_.batches(); ++number) {
      int64_t of_batch = 0;
      for (size_t i = 0; i < saes_.size(); ++i) {
        if (!sums[i]) continue;
        const KeptCodes& codes = kept_.codes(i);
        const auto tokens = kept_.tokens(first_of_tap_[i]).read(number, memory);
        sums[i]->add_sync(*stream, tokens, codes.values(number), codes.indices(number));
        of_batch = tokens.shape[0] / result_.scans[i].latents.original.positions();
      }
      images += of_batch;
      if (callbacks.progress) callbacks.progress(images, result_.images);
      if (callbacks.stop_requested && callbacks.stop_requested()) return false;
    }
    return true;
  }

  const Device& device_;
  const Graph& graph_;
  const ImageSource& images_;
  const std::vector<SaeFile>& saes_;
  const BranchScanOptions& options_;
  std::vector<size_t> first_of_tap_;
  std::vector<std::vector<TapBranch>> branches_;  ///< by autoencoder
  std::vector<Role> roles_;                       ///< by place in the present pass
  KeptPass kept_;                                 ///< of the originals
  BranchScans result_;
};

}  // namespace

SaeFile copy_with_k(const SaeFile& sae, int64_t k) {
  const auto copy = [](const HostTensor& tensor) { return tensor.empty() ? HostTensor() : tensor.clone(); };
  const SaeParameters& p = sae.parameters;
  SaeFile result{sae.spec,
                 {copy(p.w), copy(p.w_dec), copy(p.b_enc), copy(p.b_pre), p.scale},
                 sae.tap,
                 sae.model_sha256,
                 sae.preprocess};
  result.spec.k = k;
  return result;
}

int64_t most_score_bytes(const Graph& graph, const ImageSource& images, const SaeFile& sae,
                         int64_t random_rows) {
  const Tap tap = resolve_tap(graph, sae.tap);
  const auto shapes = infer_shapes(graph, 1, images.height(), images.width());
  const TapShape shape = tap_shape(graph, shapes, tap);
  const auto most_of_image = [&](const SaeSpec& spec) {
    return std::min(spec.n, shape.height * shape.width * spec.k);
  };
  int64_t scores = most_of_image(sae.spec);
  if (tap_branches(graph, tap).size() > 1)
    scores += most_of_image(random_dictionary_spec(sae.spec, random_rows)) + sae.spec.d;
  return images.size() * scores * static_cast<int64_t>(sizeof(ImageScore));
}

BranchScans scan_branches(const Device& device, const Graph& graph, const ImageSource& images,
                          const std::vector<SaeFile>& saes, const BranchScanOptions& options,
                          const std::function<EvaluateCallbacks()>& next_pass) {
  return Passes(device, graph, images, saes, options).run(next_pass);
}

}  // namespace branchsae
