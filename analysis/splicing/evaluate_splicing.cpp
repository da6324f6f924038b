#include "analysis/splicing/evaluate_splicing.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

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

/// Channels of a layer that are replaced, whichever autoencoders were trained on them.
struct Place {
  SpliceSite site;
  size_t layer = 0;  ///< in the forward pass
  Splicer* splicer = nullptr;
  std::optional<ConstantRows> mean, zero;
  PredictionComparison with_mean, with_zero;
};

/// One autoencoder.
struct Target {
  size_t tap = 0;  ///< in the forward pass
  std::unique_ptr<SaeExecutor> sae;
  std::vector<int64_t> ks;
  std::vector<ReconstructionSums> sums;           ///< by k
  std::vector<PredictionComparison> predictions;  ///< by k
  Place* place = nullptr;                         ///< null: it is not replaced
  SplicingEvaluation* evaluation = nullptr;
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
    if (options.means.size() != saes.size())
      throw ShapeError(fmt::format("{} mean tokens for {} autoencoders", options.means.size(), saes.size()));
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
      result_.images += std::ssize(batch);
      if (callbacks_.progress) callbacks_.progress(result_.images, std::ssize(images));
      return !(callbacks_.stop_requested && callbacks_.stop_requested());
    });
    for (Target& target : targets_) finish(target);
    result_.skipped = skipped_.list();
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
    target.sums.assign(target.ks.size(), ReconstructionSums(options_.means[number]));
    target.predictions.resize(target.ks.size());
    target.sae = with_memory_advice("give fewer --tap at once",
                                    [&] { return make_executor(device_, sae, 4096, precision_); });
    try {
      if (!unspliced_.empty()) throw InputError(unspliced_);
      target.place = &place_at(splice_site(graph_, tap), options_.means[number]);
    } catch (const InputError& error) {
      evaluation.refused = error.what();
    }
    targets_.push_back(std::move(target));
  }

  Place& place_at(SpliceSite site, const std::vector<double>& mean) {
    const auto key = std::make_tuple(site.value, site.begin, site.end);
    const bool is_new = !places_.contains(key);
    Place& place = places_[key];
    if (!is_new) return place;
    place.layer = place_of(taps_, site.layer);
    place.site = std::move(site);
    means_[&place] = {mean.begin(), mean.end()};
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
    const int64_t rows = forward_->batch() * forward_->positions(place.layer);
    const auto [height, width] = forward_->grid(place.layer);
    auto& splicer = splicers_[place.site.value];
    if (!splicer) {
      splicer = with_memory_advice("lower --batch", [&] {
        return std::make_unique<Splicer>(device_, graph_, place.site, scores_.name, forward_->batch(), height,
                                         width, network_precision(precision_), options_.evaluate.conv);
      });
    }
    place.splicer = splicer.get();
    const std::vector<float>& mean = means_.at(&place);
    place.mean.emplace(device_.backend(), *stream_, rows, mean);
    place.zero.emplace(device_.backend(), *stream_, rows, std::vector<float>(mean.size(), 0.0F));
  }

  void visit(const std::vector<int64_t>& batch) {
    const int64_t count = std::ssize(batch);
    HostTensor clean;
    if (!places_.empty()) {
      clean = model::rows_to_host_sync(device_.backend(), *stream_, forward_->tokens(0, 0, count));
      add(clean_, clean, clean, batch);
    }
    for (auto& [key, place] : places_) {
      const int64_t rows = count * forward_->positions(place.layer);
      add(place.with_mean, clean, splice(place, place.mean->rows(rows), count), batch);
      add(place.with_zero, clean, splice(place, place.zero->rows(rows), count), batch);
    }
    for (Target& target : targets_) {
      const auto tokens = forward_->tokens(target.tap, 0, count);
      const HostRows x(device_.backend(), *stream_, tokens);
      reconstructor_->encode(*stream_, *target.sae, tokens, std::ranges::max(target.ks));
      for (size_t i = 0; i < target.ks.size(); ++i) {
        const auto x_hat = reconstructor_->decode(*stream_, *target.sae, target.ks[i]);
        target.sums[i].add(x.view(), HostRows(device_.backend(), *stream_, x_hat).view());
        if (target.place != nullptr)
          add(target.predictions[i], clean, splice(*target.place, x_hat, count), batch);
      }
    }
  }

  HostTensor splice(Place& place, View<const float, 2> replacement, int64_t count) {
    return place.splicer->run_sync(*stream_, place.site, forward_->tokens(place.layer, 0, count),
                                   replacement);
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
      evaluation.reconstructions.push_back({target.ks[i], target.sums[i].figures()});
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
  std::map<const Place*, std::vector<float>> means_;
  std::map<ValueId, std::unique_ptr<Splicer>> splicers_;
  std::unique_ptr<model::ImageForward> forward_;
  std::optional<Reconstructor> reconstructor_;
  PredictionComparison clean_;
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
