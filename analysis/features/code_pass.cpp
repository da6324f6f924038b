#include "analysis/features/code_pass.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/features/token_encoder.h"
#include "engine/error.h"
#include "engine/memory_advice.h"
#include "model/device_rows.h"
#include "model/image_forward.h"
#include "model/precision.h"
#include "model/skipped_images.h"

namespace branchsae {
namespace {

size_t place_of(std::vector<std::string>& taps, const std::string& tap) {
  const auto found = std::ranges::find(taps, tap);
  if (found != taps.end()) return static_cast<size_t>(found - taps.begin());
  taps.push_back(tap);
  return taps.size() - 1;
}

void check_width(const SaeFile& sae, const Tap& tap) {
  if (tap.width() == sae.spec.d) return;
  throw InputError(
      fmt::format("the autoencoder of '{}' has width {}, but the tap has {} channels in this model", sae.tap,
                  sae.spec.d, tap.width()));
}

/// A batch's tokens of every tap on the host, fetched when they are first asked for.
class HostTokens {
 public:
  HostTokens(Backend& backend, const model::ImageForward& forward)
      : backend_(backend), forward_(forward), copies_(forward.taps().size()) {}

  void forget() {
    for (HostTensor& copy : copies_) copy = HostTensor();
  }
  View<const float, 2> of(Stream& stream, size_t tap, int64_t images) {
    const View<const float, 2> tokens = forward_.tokens(tap, 0, images);
    if (backend_.is_host()) return tokens;
    if (copies_[tap].empty()) copies_[tap] = model::rows_to_host_sync(backend_, stream, tokens);
    return copies_[tap].matrix();
  }

 private:
  Backend& backend_;
  const model::ImageForward& forward_;
  std::vector<HostTensor> copies_;
};

}  // namespace

/// Some positions of a batch's images, on the device.
class ChosenTokens {
 public:
  ChosenTokens(Backend& backend, std::vector<int64_t> positions, int64_t images, int64_t d)
      : backend_(backend),
        positions_(std::move(positions)),
        host_({images * count(), d}),
        device_(backend.buffer<float>(host_.shape()[0] * d, "chosen tokens")) {}

  int64_t count() const { return std::ssize(positions_); }
  /// Of host tokens [images * per_image, d]. Valid until it is called again.
  View<const float, 2> of(Stream& stream, View<const float, 2> tokens, int64_t images) {
    const int64_t per_image = tokens.shape[0] / images, d = tokens.shape[1];
    float* next = host_.data();
    for (int64_t image = 0; image < images; ++image) {
      for (const int64_t position : positions_) {
        for (int64_t c = 0; c < d; ++c) *next++ = tokens(image * per_image + position, c);
      }
    }
    const int64_t rows = images * count();
    backend_.copy_to_device(stream, device_.data(), host_.data(), rows * d * int64_t{sizeof(float)});
    return device_.matrix(rows, d);
  }

 private:
  Backend& backend_;
  std::vector<int64_t> positions_;
  HostTensor host_;
  DeviceBuffer<float> device_;
};

struct CodePass::State {
  struct Target {
    size_t tap = 0;
    std::unique_ptr<TokenEncoder> encoder;
    std::unique_ptr<ChosenTokens> chosen = {};  ///< null: every token
  };

  State(const Device& device_, const Graph& graph, const ImageSource& source_,
        const std::vector<SaeFile>& saes, const EvaluateOptions& options_)
      : device(device_), source(source_), options(options_), stream(device_.make_stream()) {
    const SaePrecision precision = offered_precision(device.backend(), options.precision);
    std::vector<std::string> taps;
    for (const SaeFile& sae : saes) targets.push_back({place_of(taps, sae.tap), nullptr});
    forward = with_memory_advice("lower --batch", [&] {
      return std::make_unique<model::ImageForward>(device, graph, source, taps, options.forward_batch,
                                                   network_precision(precision), options.conv);
    });
    for (size_t i = 0; i < saes.size(); ++i) {
      check_width(saes[i], forward->taps()[targets[i].tap]);
      const int64_t rows = forward->batch() * forward->positions(targets[i].tap);
      targets[i].encoder = with_memory_advice("give fewer --tap at once", [&] {
        const auto ks = options.ks.empty() ? std::vector<int64_t>{saes[i].spec.k} : options.ks;
        return std::make_unique<TokenEncoder>(device, saes[i], ks, rows, precision);
      });
    }
    host_tokens = std::make_unique<HostTokens>(device.backend(), *forward);
  }

  void visit_batch(const std::vector<int64_t>& batch, const Visit& visit) {
    const auto count = static_cast<int64_t>(batch.size());
    stream->synchronize();
    host_tokens->forget();
    for (size_t i = 0; i < targets.size(); ++i) {
      TokenEncoder& encoder = *targets[i].encoder;
      ChosenTokens* chosen = targets[i].chosen.get();
      const size_t tap = targets[i].tap;
      const int64_t positions = forward->positions(tap);
      const View<const float, 2> tokens = host_tokens->of(*stream, tap, count);
      encoder.encode_sync(
          *stream, chosen != nullptr ? chosen->of(*stream, tokens, count) : forward->tokens(tap, 0, count));
      for (size_t j = 0; j < encoder.ks().size(); ++j) {
        visit({i, encoder.ks()[j], batch, positions, chosen != nullptr ? chosen->count() : positions, tokens,
               encoder.values(j), encoder.indices(j)});
      }
    }
  }

  Device device;
  const ImageSource& source;
  EvaluateOptions options;
  std::unique_ptr<Stream> stream;
  std::vector<Target> targets;
  std::unique_ptr<model::ImageForward> forward;
  std::unique_ptr<HostTokens> host_tokens;
};

CodePass::CodePass(const Device& device, const Graph& graph, const ImageSource& images,
                   const std::vector<SaeFile>& saes, const EvaluateOptions& options)
    : state_(std::make_unique<State>(device, graph, images, saes, options)) {}

CodePass::~CodePass() = default;

std::array<int64_t, 2> CodePass::grid(size_t sae) const {
  return state_->forward->grid(state_->targets.at(sae).tap);
}

int64_t CodePass::tokens_per_image(size_t sae) const {
  return state_->forward->positions(state_->targets.at(sae).tap);
}

const std::vector<int64_t>& CodePass::ks(size_t sae) const {
  return state_->targets.at(sae).encoder->ks();
}

void CodePass::encode_only(size_t sae, std::vector<int64_t> positions) {
  const int64_t all = tokens_per_image(sae);
  for (size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] < 0 || positions[i] >= all || (i > 0 && positions[i] <= positions[i - 1]))
      throw InputError(fmt::format("position {} of {}: ascending ones are needed", positions[i], all));
  }
  if (positions.empty()) throw InputError("no position to encode");
  State::Target& target = state_->targets.at(sae);
  target.chosen.reset();
  if (std::ssize(positions) == all) return;
  const int64_t images = state_->forward->batch();
  const int64_t d = state_->forward->taps()[target.tap].width();
  target.chosen = std::make_unique<ChosenTokens>(state_->device.backend(), std::move(positions), images, d);
}

CodePassResult CodePass::run(const Visit& visit, const EvaluateCallbacks& callbacks) {
  return run(state_->options.images, visit, callbacks);
}

CodePassResult CodePass::run(const std::vector<int64_t>& images, const Visit& visit,
                             const EvaluateCallbacks& callbacks) {
  CodePassResult result;
  model::SkippedImages skipped(state_->source, images, state_->options.strict);
  const auto on_unreadable = [&](int64_t image, const std::string& reason) { skipped.add(image, reason); };
  result.stopped =
      !state_->forward->run(*state_->stream, images, on_unreadable, [&](const std::vector<int64_t>& batch) {
        state_->visit_batch(batch, visit);
        result.images += static_cast<int64_t>(batch.size());
        if (callbacks.progress) callbacks.progress(result.images, static_cast<int64_t>(images.size()));
        return !(callbacks.stop_requested && callbacks.stop_requested());
      });
  result.skipped = skipped.list();
  return result;
}

}  // namespace branchsae
