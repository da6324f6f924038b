#pragma once
/// Images through the network, batch by batch, for commands that read activations.
#include <functional>
#include <string>
#include <vector>

#include "apps/option_set.h"
#include "apps/skipped_images.h"
#include "engine/device.h"
#include "engine/images.h"

namespace branchsae::apps {

struct ForwardOptions {
  std::vector<std::string> taps;
  int64_t batch = 32;      ///< images a forward pass; made smaller when max_memory asks for it
  int64_t max_memory = 0;  ///< bytes for weights and activations; 0: no bound
  bool strict = false;
  bool progress = true;
  std::string title;  ///< of the progress bar
  NetworkPrecision precision = NetworkPrecision::kAuto;
  ConvAlgorithm conv = ConvAlgorithm::kAuto;
};

/// --precision of commands that only run the network; its words are read by parse_precision().
void add_network_precision(OptionSet& options, std::string& target);
NetworkPrecision parse_precision(const std::string& word);

/// --conv of commands that start from a model.
void add_conv(OptionSet& options, std::string& target);
/// --conv of commands that start from a run: its own, unless another is named.
void add_conv_of_run(OptionSet& options, std::string& target);
ConvAlgorithm conv_of_run(const std::string& word, ConvAlgorithm recorded);

class ForwardPass {
 public:
  /// Compiles. Throws InputError for taps or image sizes that the graph does not allow.
  ForwardPass(const Device& device, const Graph& graph, const ImageSource& images, ForwardOptions options);

  /// Called once a batch, when the taps hold its activations.
  using Each = std::function<void(const ImageBatch&)>;
  /// Runs over images 0 .. size-1 (or those of `indices`). Stops with Interrupted on a signal. Throws
  /// InputError as SkippedImages says.
  std::vector<SkippedImage> run(const Each& each);
  std::vector<SkippedImage> run(const std::vector<int64_t>& indices, const Each& each);

  Program& program() { return program_; }
  Stream& stream() { return *stream_; }
  const Device& device() const { return device_; }
  TapOutput tap(size_t index) const { return program_.tap(index); }
  /// The tap's tokens in host memory; valid until the next call for the same tap or the next batch.
  View<const float, 2> host_tokens(size_t index);

 private:
  void run_network(const ImageBatch& batch);

  Device device_;
  const ImageSource* images_;
  ForwardOptions options_;
  std::unique_ptr<Stream> stream_;
  Program program_;
  DeviceBuffer<char> pixels_;                ///< device copy of a batch where device memory is not the host's
  std::vector<DeviceBuffer<float>> staged_;  ///< dense copy of a tap, by tap
  std::vector<std::vector<float>> host_;
};

}  // namespace branchsae::apps
