#include "analysis/features/scan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/memory_advice.h"
#include "model/device_rows.h"
#include "model/image_forward.h"
#include "model/precision.h"
#include "model/skipped_images.h"

namespace branchsae {
namespace {

constexpr int64_t kTokensAtOnce = 4096;

int64_t chosen_k(const SaeFile& sae, const EvaluateOptions& options) {
  const int64_t k = options.ks.empty() ? sae.spec.k : options.ks.front();
  if (options.ks.size() > 1) throw InputError("one k at a time: features of one autoencoder at one k");
  if (k < 1 || k > sae.spec.n)
    throw InputError(fmt::format("k must be in 1..n = {} for '{}', not {}", sae.spec.n, sae.tap, k));
  return k;
}

void check_ascending(const std::vector<int64_t>& images) {
  if (std::ranges::adjacent_find(images, std::greater_equal<>()) != images.end())
    throw InputError("images are scanned in ascending order, each once");
}

/// Codes of a batch of images, on the host.
class Encoder {
 public:
  Encoder(const Device& device, const SaeFile& sae, int64_t k, int64_t rows, SaePrecision precision)
      : backend_(device.backend()),
        sae_(make_executor(device, sae, std::min(rows, kTokensAtOnce), precision)),
        k_(k),
        values_(backend_.buffer<float>(rows * k, "code values")),
        indices_(backend_.buffer<int32_t>(rows * k, "code indices")),
        host_values_(static_cast<size_t>(rows * k)),
        host_indices_(static_cast<size_t>(rows * k)) {}

  void encode_sync(Stream& stream, View<const float, 2> tokens) {
    const int64_t rows = tokens.shape[0], most = sae_->spec().max_batch;
    const View<float, 2> values = values_.matrix(rows, k_);
    const View<int32_t, 2> indices = indices_.matrix(rows, k_);
    for (int64_t begin = 0; begin < rows; begin += most) {
      const int64_t part = std::min(most, rows - begin);
      sae_->encode(stream, tokens.rows(begin, part), values.rows(begin, part), indices.rows(begin, part));
    }
    backend_.copy_to_host(stream, host_values_.data(), values_.data(), rows * k_ * int64_t{sizeof(float)});
    backend_.copy_to_host(stream, host_indices_.data(), indices_.data(),
                          rows * k_ * int64_t{sizeof(int32_t)});
    stream.synchronize();
  }
  View<const float, 2> values(int64_t first, int64_t rows) const {
    return {host_values_.data() + first * k_, {rows, k_}};
  }
  View<const int32_t, 2> indices(int64_t first, int64_t rows) const {
    return {host_indices_.data() + first * k_, {rows, k_}};
  }

 private:
  Backend& backend_;
  std::unique_ptr<SaeExecutor> sae_;
  int64_t k_;
  DeviceBuffer<float> values_;
  DeviceBuffer<int32_t> indices_;
  std::vector<float> host_values_;
  std::vector<int32_t> host_indices_;
};

/// Sums over tokens of what the scan says about the input.
struct InputSums {
  std::vector<double> squares;
  int64_t tokens = 0, nonzeros = 0;

  void add(const HostTensor& rows) {
    const size_t width = squares.size();
    tokens += rows.dim(0);
    size_t channel = 0;
    for (float value : rows.values()) {
      squares[channel] += static_cast<double>(value) * static_cast<double>(value);
      nonzeros += value != 0 ? 1 : 0;
      channel = channel + 1 == width ? 0 : channel + 1;
    }
  }
};

}  // namespace

FeatureScan scan_features(const Device& device, const Graph& graph, const ImageSource& images,
                          const SaeFile& sae, const EvaluateOptions& options,
                          const EvaluateCallbacks& callbacks) {
  const int64_t k = chosen_k(sae, options);
  check_ascending(options.images);
  const SaePrecision precision = offered_precision(device.backend(), options.precision);
  const auto forward = with_memory_advice("lower --batch", [&] {
    return std::make_unique<model::ImageForward>(device, graph, images, std::vector<std::string>{sae.tap},
                                                 options.forward_batch, network_precision(precision),
                                                 options.conv);
  });
  const int64_t width = forward->taps().front().width(), positions = forward->positions(0);
  if (width != sae.spec.d) {
    throw InputError(
        fmt::format("the autoencoder of '{}' has width {}, but the tap has {} channels in this model",
                    sae.tap, sae.spec.d, width));
  }
  Encoder encoder(device, sae, k, forward->batch() * positions, precision);
  InputSums input{std::vector<double>(static_cast<size_t>(width)), 0, 0};
  FeatureScan scan{.scores = ImageScores(sae.spec.n, positions), .grid = forward->grid(0)};
  model::SkippedImages skipped(images, options.images, options.strict);
  const auto stream = device.make_stream();
  const auto on_unreadable = [&](int64_t image, const std::string& reason) { skipped.add(image, reason); };
  scan.stopped =
      !forward->run(*stream, options.images, on_unreadable, [&](const std::vector<int64_t>& batch) {
        const auto count = static_cast<int64_t>(batch.size());
        stream->synchronize();
        encoder.encode_sync(*stream, forward->tokens(0, 0, count));
        input.add(model::rows_to_host_sync(device.backend(), *stream, forward->tokens(0, 0, count)));
        for (int64_t i = 0; i < count; ++i) {
          scan.scores.add(static_cast<int32_t>(batch[static_cast<size_t>(i)]),
                          encoder.values(i * positions, positions),
                          encoder.indices(i * positions, positions));
        }
        if (callbacks.progress)
          callbacks.progress(scan.scores.images(), static_cast<int64_t>(options.images.size()));
        return !(callbacks.stop_requested && callbacks.stop_requested());
      });
  scan.skipped = skipped.list();
  const auto tokens = static_cast<double>(std::max<int64_t>(input.tokens, 1));
  for (double sum : input.squares) scan.channel_energy.push_back(sum / tokens);
  scan.input_l0 = static_cast<double>(input.nonzeros) / tokens;
  return scan;
}

}  // namespace branchsae
