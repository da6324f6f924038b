#include "analysis/splicing/evaluate_splicing.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/splicing/splicer.h"
#include "engine/error.h"
#include "engine/memory_advice.h"
#include "model/device_rows.h"
#include "model/image_forward.h"
#include "model/precision.h"
#include "model/skipped_images.h"

namespace branchsae {
namespace {

/// Rows of one tap that are the same for every token.
class ConstantRows {
 public:
  ConstantRows(Backend& backend, Stream& stream, int64_t rows, const std::vector<float>& row)
      : width_(static_cast<int64_t>(row.size())),
        memory_(backend.buffer<float>(rows * width_, "constant activation")) {
    std::vector<float> all;
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

/// One autoencoder's place in the network and what it needs there.
struct Target {
  SpliceSite site;
  size_t tap = 0, layer = 0;  ///< in the forward pass
  std::unique_ptr<SaeExecutor> sae;
  std::vector<int64_t> ks;
  std::unique_ptr<Splicer> splicer;
  std::unique_ptr<ConstantRows> mean, zero;
  DeviceBuffer<float> values, x_hat;
  DeviceBuffer<int32_t> indices;
  std::vector<double> channel_sum;
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
              const std::vector<SaeFile>& saes, const EvaluateOptions& options,
              const EvaluateCallbacks& callbacks)
      : device_(device),
        images_(images),
        options_(options),
        callbacks_(callbacks),
        stream_(device.make_stream()),
        scores_(find_class_scores(graph)),
        skipped_(images, options_.images, options.strict) {
    const SaePrecision precision = offered_precision(device.backend(), options.precision);
    result_.evaluations.resize(saes.size());
    std::vector<std::string> taps{scores_.name};
    for (size_t i = 0; i < saes.size(); ++i) add_target(graph, saes[i], precision, taps, i);
    if (targets_.empty()) return;
    forward_ = with_memory_advice("lower --batch", [&] {
      return std::make_unique<model::ImageForward>(device, graph, images, taps, options.forward_batch,
                                                   network_precision(precision), options.conv);
    });
    for (Target& target : targets_) allocate(graph, target, network_precision(precision));
  }

  SplicingResult run() {
    if (!targets_.empty() && measure_means()) splice_all();
    result_.skipped = skipped_.list();
    return std::move(result_);
  }

 private:
  void add_target(const Graph& graph, const SaeFile& sae, SaePrecision precision,
                  std::vector<std::string>& taps, size_t number) {
    SplicingEvaluation& evaluation = result_.evaluations[number];
    evaluation.tap = sae.tap;
    const Tap tap = resolve_tap(graph, sae.tap);
    if (tap.width() != sae.spec.d) {
      throw InputError(
          fmt::format("the autoencoder of '{}' has width {}, but the tap has {} channels in this model",
                      sae.tap, sae.spec.d, tap.width()));
    }
    Target target;
    try {
      target.site = splice_site(graph, tap);
    } catch (const InputError& error) {
      evaluation.refused = error.what();
      return;
    }
    target.tap = place_of(taps, sae.tap);
    target.layer = place_of(taps, target.site.layer);
    target.sae = make_executor(device_, sae, 4096, precision);
    target.ks = options_.ks.empty() ? std::vector<int64_t>{sae.spec.k} : options_.ks;
    target.channel_sum.resize(static_cast<size_t>(sae.spec.d));
    target.evaluation = &evaluation;
    targets_.push_back(std::move(target));
  }

  void allocate(const Graph& graph, Target& target, NetworkPrecision precision) {
    const int64_t positions = forward_->positions(target.tap), rows = forward_->batch() * positions;
    const auto [height, width] = forward_->grid(target.tap);
    target.splicer = std::make_unique<Splicer>(device_, graph, target.site, scores_.name, forward_->batch(),
                                               height, width, precision, options_.conv);
    const int64_t most = std::ranges::max(target.ks);
    target.values = device_.backend().buffer<float>(rows * most, "code values");
    target.indices = device_.backend().buffer<int32_t>(rows * most, "code indices");
    target.x_hat = device_.backend().buffer<float>(rows * target.sae->spec().d, "reconstruction");
  }

  /// False when it was stopped. Each pass calls visit(number of images, their indices).
  template <class Visit>
  bool pass(int64_t done_before, const Visit& visit) {
    const auto on_unreadable = [&](int64_t image, const std::string& why) { skipped_.add(image, why); };
    std::vector<int64_t> readable;
    for (int64_t image : options_.images) {
      if (!skipped_.contains(image)) readable.push_back(image);
    }
    int64_t done = done_before;
    const auto total = static_cast<int64_t>(2 * options_.images.size());
    return forward_->run(*stream_, readable, on_unreadable, [&](const std::vector<int64_t>& batch) {
      stream_->synchronize();
      visit(static_cast<int64_t>(batch.size()), batch);
      done += static_cast<int64_t>(batch.size());
      if (callbacks_.progress) callbacks_.progress(done, total);
      return !(callbacks_.stop_requested && callbacks_.stop_requested());
    });
  }

  bool measure_means() {
    int64_t images = 0;
    const bool finished = pass(0, [&](int64_t count, const std::vector<int64_t>&) {
      images += count;
      for (Target& target : targets_) {
        const HostTensor tokens =
            model::rows_to_host_sync(device_.backend(), *stream_, forward_->tokens(target.tap, 0, count));
        const auto width = static_cast<int64_t>(target.channel_sum.size());
        for (int64_t i = 0; i < tokens.size(); ++i)
          target.channel_sum[static_cast<size_t>(i % width)] += static_cast<double>(tokens[i]);
      }
    });
    result_.stopped = !finished;
    if (!finished || images == 0) return false;
    for (Target& target : targets_) {
      const int64_t positions = forward_->positions(target.tap), rows = forward_->batch() * positions;
      std::vector<float> mean, zero(target.channel_sum.size());
      for (double sum : target.channel_sum)
        mean.push_back(static_cast<float>(sum / static_cast<double>(images * positions)));
      target.mean = std::make_unique<ConstantRows>(device_.backend(), *stream_, rows, mean);
      target.zero = std::make_unique<ConstantRows>(device_.backend(), *stream_, rows, zero);
      target.evaluation->spliced.push_back({Replacement::kMean, 0, {}});
      target.evaluation->spliced.push_back({Replacement::kZero, 0, {}});
      for (int64_t k : target.ks) target.evaluation->spliced.push_back({Replacement::kReconstruction, k, {}});
    }
    return true;
  }

  void splice_all() {
    const bool finished = pass(
        static_cast<int64_t>(options_.images.size()), [&](int64_t count, const std::vector<int64_t>& batch) {
          const HostTensor clean =
              model::rows_to_host_sync(device_.backend(), *stream_, forward_->tokens(0, 0, count));
          for (Target& target : targets_) {
            add(target.evaluation->clean, clean, clean, batch);
            for (SplicedPredictions& spliced : target.evaluation->spliced) {
              const HostTensor changed = target.splicer->run_sync(
                  *stream_, forward_->tokens(target.layer, 0, count), replacement(target, spliced, count));
              add(spliced.predictions, clean, changed, batch);
            }
          }
          result_.images += count;
        });
    result_.stopped = !finished;
  }

  View<const float, 2> replacement(Target& target, const SplicedPredictions& spliced, int64_t count) {
    const auto tokens = forward_->tokens(target.tap, 0, count);
    const int64_t rows = tokens.shape[0], d = target.sae->spec().d, k = spliced.k;
    if (spliced.replacement == Replacement::kMean) return target.mean->rows(rows);
    if (spliced.replacement == Replacement::kZero) return target.zero->rows(rows);
    const int64_t most = target.sae->spec().max_batch;
    const View<float, 2> values = target.values.matrix(rows, k), x_hat = target.x_hat.matrix(rows, d);
    const View<int32_t, 2> indices = target.indices.matrix(rows, k);
    for (int64_t begin = 0; begin < rows; begin += most) {
      const int64_t part = std::min(most, rows - begin);
      target.sae->encode(*stream_, tokens.rows(begin, part), values.rows(begin, part),
                         indices.rows(begin, part));
      target.sae->decode(*stream_, values.rows(begin, part), indices.rows(begin, part),
                         x_hat.rows(begin, part));
    }
    return x_hat;
  }

  void add(PredictionComparison& comparison, const HostTensor& clean, const HostTensor& changed,
           const std::vector<int64_t>& batch) const {
    const auto classes = static_cast<size_t>(scores_.classes);
    for (size_t i = 0; i < batch.size(); ++i) {
      comparison.add(clean.values().subspan(i * classes, classes),
                     changed.values().subspan(i * classes, classes), images_.info(batch[i]).label);
    }
  }

  Device device_;
  const ImageSource& images_;
  EvaluateOptions options_;
  EvaluateCallbacks callbacks_;
  std::unique_ptr<Stream> stream_;
  ClassScores scores_;
  model::SkippedImages skipped_;
  SplicingResult result_;
  std::vector<Target> targets_;
  std::unique_ptr<model::ImageForward> forward_;
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

SplicingResult evaluate_splicing(const Device& device, const Graph& graph, const ImageSource& images,
                                 const std::vector<SaeFile>& saes, const EvaluateOptions& options,
                                 const EvaluateCallbacks& callbacks) {
  return SplicingJob(device, graph, images, saes, options, callbacks).run();
}

}  // namespace branchsae
