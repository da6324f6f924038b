#pragma once
/// The network run on from a layer of which some channels were replaced.
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/host_tensor.h"

namespace branchsae {

/// Where a tap lies: channels [begin, end) of one value that all paths to the output pass.
struct SpliceSite {
  ValueId value = kNoValue;
  std::string layer;  ///< the value's own name: captures all of its channels
  int64_t begin = 0, end = 0, channels = 0;
};

/// Throws InputError for a joined tap (its layers cannot be replaced at once) or one around which the network
/// has another way (a tensor inside a block, a branch before its ReLU).
SpliceSite splice_site(const Graph& graph, const Tap& tap);

/// One layer's: what lies behind it is compiled once for all of its branches.
class Splicer {
 public:
  /// site: any of the layer's. scores: the tensor whose rows are wanted (find_class_scores). Batches of up to
  /// max_batch images whose layer has height x width positions.
  Splicer(const Device& device, const Graph& graph, const SpliceSite& site, const std::string& scores,
          int64_t max_batch, int64_t height, int64_t width,
          NetworkPrecision precision = NetworkPrecision::kAuto, ConvAlgorithm conv = ConvAlgorithm::kAuto);

  /// site         of this layer
  /// layer        [images * height * width, site.channels] as captured, device
  /// replacement  [images * height * width, site.end - site.begin], device; takes the site's channels' place
  /// Returns the scores' rows [images, classes] on the host. Blocking. Throws ShapeError.
  HostTensor run_sync(Stream& stream, const SpliceSite& site, View<const float, 2> layer,
                      View<const float, 2> replacement);

 private:
  Device device_;
  ValueId value_;
  int64_t channels_, max_batch_, positions_;
  Program program_;
  DeviceBuffer<float> changed_;  ///< [max_batch * positions, channels]
};

}  // namespace branchsae
