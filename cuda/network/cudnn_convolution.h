#pragma once
/// Plans convolutions with cuDNN's graph API: convolution + bias + ReLU as one graph, any pixel strides, and
/// plans for devices that are only described (planning needs no device, running does).
///
/// Why the graph API and not cudnnConvolutionBiasActivationForward: that one is deprecated in cuDNN 9, has no
/// bf16, and answers whether a layout is taken only by failing.
#include <memory>
#include <string>

#include "cuda/network/convolution.h"
#include "cuda/network/cudnn_descriptor.h"

namespace branchsae::cuda {

/// What cuDNN knows of device `index`. Throws DeviceError.
CudnnDescriptor device_properties(int index);
/// The same from cuDNN's JSON text, without a device.
CudnnDescriptor device_properties(const std::string& json);

/// Names of a plan's src, weight, bias and dst, for its variant pack.
inline constexpr std::array<int64_t, 4> kConvolutionTensors{1, 2, 3, 4};

/// A finalised plan; runs once it is given a handle.
struct CudnnPlan {
  CudnnDescriptor plan;
  std::string name;  ///< "cuDNN engine 38, tensor cores"
  int64_t workspace_bytes = 0;
  Element bias_element = Element::kF32;
  Standing standing = Standing::kFallback;
};

/// cuDNN's heuristics' first choice that finalises, is deterministic, keeps the precision (float32 without
/// tensor cores, nothing with inputs or sums of less precision than stored) and does not copy strided
/// activations to its work space: the caller copies better, into the concat once. Tried first with a bias of
/// the activations' type, which precompiled engines want (recommended), then with a float32 bias, which
/// engines compiled at run time take (offered), then what always works (fallback). Null when there is none:
/// `why_not` has the last reason. Throws DeviceError when the descriptors themselves are refused.
std::unique_ptr<CudnnPlan> plan_convolution(const CudnnDescriptor& properties, const ConvProblem& problem,
                                            std::string& why_not);

}  // namespace branchsae::cuda
