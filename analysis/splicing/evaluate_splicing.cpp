#include "analysis/splicing/evaluate_splicing.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "analysis/features/kept_tokens.h"
#include "analysis/splicing/reconstructor.h"
#include "analysis/splicing/splicer.h"
#include "engine/error.h"
#include "engine/memory_advice.h"
#include "model/device_rows.h"
#include "model/evaluation.h"
#include "model/image_forward.h"
#include "model/precision.h"

namespace branchsae {
namespace {

/// Rows of one tap that are the same for every token.
class ConstantRows {
 public:
  ConstantRows(Backend& backend, Stream& stream, int64_t rows, const std::vector<float>& row)
      : width_(static_cast<int64_t>(row.size())),
        memory_(backend.buffer<float>(rows * width_, "constant activation")) {
    std::vector<float> all;
    all.reserve(static_cast<size_t>(rows) * row.size());
    for (int64_t i = 0; i < rows; ++i) all.insert(all.end(), row.begin(), row.end());
    backend.copy_to_device(stream, memory_.data(), all.data(),
                           static_cast<int64_t>(all.size() * sizeof(float)));
    stream.synchronize();
  }
  View<const float, 2> rows(int64_t count) { return memory_.matrix(count, width_); }

 private:
  int64_t width_;
  DeviceBuffer<float> memory_;
};

/// Device rows as the host reads them: themselves where the device is the host.
class HostRows {
 public:
  HostRows(Backend& backend, Stream& stream, View<const float, 2> rows) : rows_(rows) {
    stream.synchronize();
    if (backend.is_host()) return;
    copy_ = model::rows_to_host_sync(backend, stream, rows);
    rows_ = copy_.matrix();
  }
  View<const float, 2> view() const { return rows_; }

 private:
  HostTensor copy_;
  View<const float, 2> rows_;
};

/// Host rows where the device reads them: themselves where the device is the host.
class DeviceRows {
 public:
  View<const float, 2> of(Backend& backend, Stream& stream, View<const float, 2> rows) {
    if (backend.is_host()) return rows;
    if (rows.size() > size_) {
      memory_ = backend.buffer<float>(rows.size(), "tokens from memory");
      size_ = rows.size();
    }
    backend.copy_to_device(stream, memory_->data(), rows.data, rows.size() * int64_t{sizeof(float)});
    stream.synchronize();
    return memory_->matrix(rows.shape[0], rows.shape[1]);
  }

 private:
  std::optional<DeviceBuffer<float>> memory_;
  int64_t size_ = 0;
};

/// Channels of a layer that are replaced, whichever autoencoders were trained on them.
struct Place {
  SpliceSite site;
  size_t layer = 0;   ///< in the forward pass
  size_t target = 0;  ///< an autoencoder of these channels
  Splicer* splicer = nullptr;
  std::optional<ConstantRows> constant;  ///< zero, then the mean
  std::map<int64_t, HostTensor>
      scores;  ///< that it gives, by the images of a batch; where it is all there is
  PredictionComparison with_mean, with_zero;

  bool whole() const { return site.begin == 0 && site.end == site.channels; }
};

/// One autoencoder.
struct Target {
  size_t tap = 0;  ///< in the forward pass
  std::unique_ptr<SaeExecutor> sae;
  std::vector<int64_t> ks;
  std::vector<SaeEvalSums> metric_sums;  ///< by k, as the rest
  std::vector<SaeMetrics> metrics;       ///< once all tokens were seen
  std::vector<ReconstructionSums> sums;
  std::vector<PredictionComparison> predictions;
  Place* place = nullptr;  ///< null: it is not replaced
  SplicingEvaluation* evaluation = nullptr;

  const std::vector<double>& mean() const { return metrics.front().mean; }
};

size_t place_of(std::vector<std::string>& names, const std::string& name) {
  const auto found = std::ranges::find(names, name);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  names.push_back(name);
  return names.size() - 1;
}

class SplicingJob {
 public:
  SplicingJob(const Device& device, const Graph& graph, const ImageSource& images,
              const std::vector<SaeFile>& saes, const SplicingOptions& options,
              const EvaluateCallbacks& callbacks)
      : device_(device),
        graph_(graph),
        images_(images),
        options_(options),
        callbacks_(callbacks),
        stream_(device.make_stream()),
        precision_(offered_precision(device.backend(), options.evaluate.precision)),
        skipped_(images, options_.evaluate.images, options.evaluate.strict) {
    find_scores();
    result_.evaluations.resize(saes.size());
    for (size_t i = 0; i < saes.size(); ++i) add_target(saes[i], i);
    forward_ = with_memory_advice("lower --batch", [&] {
      return std::make_unique<model::ImageForward>(device, graph, images, taps_,
                                                   options.evaluate.forward_batch,
                                                   network_precision(precision_), options.evaluate.conv);
    });
    allocate();
  }

  SplicingResult run() {
    const auto& images = options_.evaluate.images;
    const auto on_unreadable = [&](int64_t image, const std::string& why) { skipped_.add(image, why); };
    result_.stopped = !forward_->run(*stream_, images, on_unreadable, [&](const std::vector<int64_t>& batch) {
      stream_->synchronize();
      visit(batch);
      return goes_on(std::ssize(batch));
    });
    result_.images = std::ssize(read_);
    result_.skipped = skipped_.list();
    if (!result_.stopped) {
      know_means();
      result_.stopped = keeping_ ? !see_kept_again() : !see_images_again();
    }
    if (result_.stopped) return std::move(result_);
    for (Target& target : targets_) finish(target);
    return std::move(result_);
  }

 private:
  /// The tensor of the class scores is the first of the taps, where there is one.
  void find_scores() {
    if (!options_.splice) {
      unspliced_ = "the network was not run on";
      return;
    }
    try {
      scores_ = find_class_scores(graph_);
      taps_.push_back(scores_.name);
    } catch (const InputError& error) {
      unspliced_ = error.what();
    }
  }

  void add_target(const SaeFile& sae, size_t number) {
    SplicingEvaluation& evaluation = result_.evaluations[number];
    evaluation.tap = sae.tap;
    const Tap tap = resolve_tap(graph_, sae.tap);
    model::check_width(sae, tap);
    Target target;
    target.ks = model::checked_ks(options_.evaluate, sae);
    target.tap = place_of(taps_, sae.tap);
    target.evaluation = &evaluation;
    target.metric_sums.resize(target.ks.size());
    target.sums.assign(target.ks.size(), ReconstructionSums(sae.spec.d));
    target.predictions.resize(target.ks.size());
    target.sae = with_memory_advice("give fewer --tap at once",
                                    [&] { return make_executor(device_, sae, 4096, precision_); });
    try {
      if (!unspliced_.empty()) throw InputError(unspliced_);
      target.place = &place_at(splice_site(graph_, tap), number);
    } catch (const InputError& error) {
      evaluation.refused = error.what();
    }
    targets_.push_back(std::move(target));
  }

  Place& place_at(SpliceSite site, size_t target) {
    const auto key = std::make_tuple(site.value, site.begin, site.end);
    const bool is_new = !places_.contains(key);
    Place& place = places_[key];
    if (!is_new) return place;
    place.layer = place_of(taps_, site.layer);
    place.target = target;
    place.site = std::move(site);
    return place;
  }

  void allocate() {
    int64_t rows = 0, k = 0, d = 0;
    for (const Target& target : targets_) {
      rows = std::max(rows, forward_->batch() * forward_->positions(target.tap));
      k = std::max(k, std::ranges::max(target.ks));
      d = std::max(d, target.sae->spec().d);
    }
    reconstructor_.emplace(device_.backend(), rows, k, d);
    for (auto& [key, place] : places_) prepare(place);
  }

  void prepare(Place& place) {
    const auto [height, width] = forward_->grid(place.layer);
    auto& splicer = splicers_[place.site.value];
    if (!splicer) {
      splicer = with_memory_advice("lower --batch", [&] {
        return std::make_unique<Splicer>(device_, graph_, place.site, scores_.name, forward_->batch(), height,
                                         width, network_precision(precision_), options_.evaluate.conv);
      });
    }
    place.splicer = splicer.get();
    replace_by(place, std::vector<float>(static_cast<size_t>(place.site.end - place.site.begin), 0.0F));
  }

  void replace_by(Place& place, const std::vector<float>& row) {
    const int64_t rows = forward_->batch() * forward_->positions(place.layer);
    place.scores.clear();
    place.constant.emplace(device_.backend(), *stream_, rows, row);
  }

  /// Both passes' progress; false: stop.
  bool goes_on(int64_t images) {
    seen_ += images;
    if (callbacks_.progress) callbacks_.progress(seen_, 2 * std::ssize(options_.evaluate.images));
    return !(callbacks_.stop_requested && callbacks_.stop_requested());
  }

  void visit(const std::vector<int64_t>& batch) {
    const int64_t count = std::ssize(batch);
    HostTensor clean;
    if (!places_.empty()) {
      clean = model::rows_to_host_sync(device_.backend(), *stream_, forward_->tokens(0, 0, count));
      add(clean_, clean, clean, batch);
    }
    for (auto& [key, place] : places_)
      add_constant(place, place.with_zero, forward_->tokens(place.layer, 0, count), clean, batch);
    for (Target& target : targets_) {
      const auto tokens = forward_->tokens(target.tap, 0, count);
      measure(target, tokens);
      const HostRows x(device_.backend(), *stream_, tokens);
      reconstructor_->encode(*stream_, *target.sae, tokens, std::ranges::max(target.ks));
      for (size_t i = 0; i < target.ks.size(); ++i) {
        const auto x_hat = reconstructor_->decode(*stream_, *target.sae, target.ks[i]);
        target.sums[i].add(x.view(), HostRows(device_.backend(), *stream_, x_hat).view());
        if (target.place != nullptr)
          add(target.predictions[i], clean,
              splice(*target.place, forward_->tokens(target.place->layer, 0, count), x_hat), batch);
      }
    }
    read_.insert(read_.end(), batch.begin(), batch.end());
    batches_.push_back(count);
    clean_scores_.push_back(std::move(clean));
    keep(count);
  }

  static void measure(Target& target, View<const float, 2> tokens) {
    const int64_t most = target.sae->spec().max_batch;
    for (int64_t begin = 0; begin < tokens.shape[0]; begin += most) {
      const auto part = tokens.rows(begin, std::min(most, tokens.shape[0] - begin));
      for (size_t i = 0; i < target.ks.size(); ++i)
        target.sae->evaluate_sync(part, target.ks[i], target.metric_sums[i]);
    }
  }

  /// What the second pass asks for, while it fits into memory.
  void keep(int64_t count) {
    if (!keeping_) return;
    int64_t bytes = 0;
    for (const size_t tap : seen_twice()) {
      const HostRows rows(device_.backend(), *stream_, forward_->tokens(tap, 0, count));
      KeptTokens& kept = kept_.try_emplace(tap, rows.view().shape[1]).first->second;
      kept.add(rows.view());
      bytes += kept.memory_bytes();
    }
    if (bytes <= options_.kept_bytes) return;
    keeping_ = false;
    kept_.clear();
  }
  std::set<size_t> seen_twice() const {
    std::set<size_t> taps;
    for (const Target& target : targets_) taps.insert(target.tap);
    for (const auto& [key, place] : places_) {
      if (!place.whole()) taps.insert(place.layer);
    }
    return taps;
  }

  void know_means() {
    for (Target& target : targets_) {
      for (const SaeEvalSums& sums : target.metric_sums)
        target.metrics.push_back(metrics_from_sums(sums, target.sae->spec().n));
    }
    if (read_.empty()) return;
    for (auto& [key, place] : places_) {
      const std::vector<double>& mean = targets_[place.target].mean();
      replace_by(place, {mean.begin(), mean.end()});
    }
  }

  /// Both return false when they were stopped.
  bool see_kept_again() {
    int64_t first = 0;
    for (size_t i = 0; i < batches_.size(); ++i) {
      const std::vector<int64_t> batch(read_.begin() + first, read_.begin() + first + batches_[i]);
      std::map<size_t, std::vector<float>> memory;
      std::map<size_t, View<const float, 2>> rows;
      for (const auto& [tap, kept] : kept_) rows[tap] = kept.read(static_cast<int64_t>(i), memory[tap]);
      for (auto& [key, place] : places_) {
        View<const float, 2> layer;  // of no use where all of it is replaced
        if (!place.whole()) layer = layer_.of(device_.backend(), *stream_, rows.at(place.layer));
        add_constant(place, place.with_mean, layer, clean_scores_[i], batch);
      }
      for (Target& target : targets_) add_spread(target, rows.at(target.tap));
      first += batches_[i];
      if (!goes_on(batches_[i])) return false;
    }
    return true;
  }
  bool see_images_again() {
    const auto on_unreadable = [&](int64_t image, const std::string& why) {
      throw InputError(fmt::format("{} could be read once and not again: {}", images_.info(image).name, why));
    };
    size_t next = 0;
    return forward_->run(*stream_, read_, on_unreadable, [&](const std::vector<int64_t>& batch) {
      stream_->synchronize();
      const int64_t count = std::ssize(batch);
      for (auto& [key, place] : places_) {
        const auto layer = forward_->tokens(place.layer, 0, count);
        add_constant(place, place.with_mean, layer, clean_scores_[next], batch);
      }
      for (Target& target : targets_) {
        const auto tokens = forward_->tokens(target.tap, 0, count);
        add_spread(target, HostRows(device_.backend(), *stream_, tokens).view());
      }
      ++next;
      return goes_on(count);
    });
  }

  static void add_spread(Target& target, View<const float, 2> tokens) {
    for (ReconstructionSums& sums : target.sums) sums.add_spread(tokens, target.mean());
  }

  /// Images whose layer has the place's constant in it.
  void add_constant(Place& place, PredictionComparison& comparison, View<const float, 2> layer,
                    const HostTensor& clean, const std::vector<int64_t>& batch) {
    const int64_t count = std::ssize(batch), rows = count * forward_->positions(place.layer);
    if (!place.whole())
      return add(comparison, clean, splice(place, layer, place.constant->rows(rows)), batch);
    const auto constant = place.constant->rows(rows);
    const auto [found, is_new] = place.scores.try_emplace(count);
    if (is_new) found->second = splice(place, constant, constant);
    add(comparison, clean, found->second, batch);
  }

  HostTensor splice(Place& place, View<const float, 2> layer, View<const float, 2> replacement) {
    return place.splicer->run_sync(*stream_, place.site, layer, replacement);
  }

  void add(PredictionComparison& comparison, const HostTensor& clean, const HostTensor& changed,
           const std::vector<int64_t>& batch) const {
    const auto classes = static_cast<size_t>(scores_.classes);
    for (size_t i = 0; i < batch.size(); ++i) {
      comparison.add(clean.values().subspan(i * classes, classes),
                     changed.values().subspan(i * classes, classes),
                     options_.labelled ? images_.info(batch[i]).label : -1);
    }
  }

  void finish(Target& target) const {
    SplicingEvaluation& evaluation = *target.evaluation;
    for (size_t i = 0; i < target.ks.size(); ++i)
      evaluation.reconstructions.push_back(
          {target.ks[i], target.metrics[i], target.sums[i].figures(target.mean())});
    if (target.place == nullptr) return;
    evaluation.clean = clean_;
    evaluation.spliced.push_back({Replacement::kMean, 0, target.place->with_mean});
    evaluation.spliced.push_back({Replacement::kZero, 0, target.place->with_zero});
    for (size_t i = 0; i < target.ks.size(); ++i)
      evaluation.spliced.push_back({Replacement::kReconstruction, target.ks[i], target.predictions[i]});
  }

  Device device_;
  const Graph& graph_;
  const ImageSource& images_;
  SplicingOptions options_;
  EvaluateCallbacks callbacks_;
  std::unique_ptr<Stream> stream_;
  SaePrecision precision_;
  model::SkippedImages skipped_;
  std::string unspliced_;  ///< why no tap is replaced; empty: they are
  ClassScores scores_;
  std::vector<std::string> taps_;
  SplicingResult result_;
  std::vector<Target> targets_;
  std::map<std::tuple<ValueId, int64_t, int64_t>, Place> places_;
  std::map<ValueId, std::unique_ptr<Splicer>> splicers_;
  std::unique_ptr<model::ImageForward> forward_;
  std::optional<Reconstructor> reconstructor_;
  PredictionComparison clean_;
  // Of the first pass, for the second.
  std::vector<int64_t> read_, batches_;   ///< images; how many there were in each batch
  std::vector<HostTensor> clean_scores_;  ///< by batch
  bool keeping_ = true;
  std::map<size_t, KeptTokens> kept_;  ///< by tap
  DeviceRows layer_;
  int64_t seen_ = 0;
};

}  // namespace

const char* replacement_name(Replacement replacement) {
  switch (replacement) {
    case Replacement::kReconstruction:
      return "reconstruction";
    case Replacement::kMean:
      return "mean";
    case Replacement::kZero:
      return "zero";
  }
  return "unknown";
}

const SplicedPredictions& SplicingEvaluation::find(Replacement replacement, int64_t k) const {
  const auto found = std::ranges::find_if(spliced, [&](const SplicedPredictions& candidate) {
    return candidate.replacement == replacement && candidate.k == k;
  });
  if (found == spliced.end())
    throw InputError(
        fmt::format("'{}' was not replaced by its {} at k = {}", tap, replacement_name(replacement), k));
  return *found;
}

double SplicingEvaluation::recovered(int64_t k, Replacement without) const {
  return loss_recovered(clean.sums(), find(Replacement::kReconstruction, k).predictions.sums(),
                        find(without).predictions.sums());
}

double SplicingEvaluation::divergence_recovered(int64_t k, Replacement without) const {
  return branchsae::divergence_recovered(find(Replacement::kReconstruction, k).predictions.sums(),
                                         find(without).predictions.sums());
}

SplicingResult evaluate_splicing(const Device& device, const Graph& graph, const ImageSource& images,
                                 const std::vector<SaeFile>& saes, const SplicingOptions& options,
                                 const EvaluateCallbacks& callbacks) {
  return SplicingJob(device, graph, images, saes, options, callbacks).run();
}

}  // namespace branchsae
