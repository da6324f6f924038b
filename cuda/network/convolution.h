#pragma once
/// Convolution with bias and ReLU on NHWC activations, behind an interface: cuDNN on a device, plain loops in
/// the emulator.
#include <cuda_runtime_api.h>

#include <array>
#include <compare>
#include <memory>
#include <string>

#include "cuda/network/element.h"

namespace branchsae::cuda {

/// dst = relu(weight * src + bias). Channels are as stored, padding included; a pixel's channels lie side by
/// side, pixels `*_pixel_stride` elements apart, rows and images dense in pixels.
struct ConvProblem {
  Element element = Element::kF32;
  bool tf32 = false;
  int64_t images = 0;
  int64_t channels = 0, height = 0, width = 0, src_pixel_stride = 0;
  int64_t outputs = 0, out_height = 0, out_width = 0, dst_pixel_stride = 0;
  std::array<int64_t, 2> kernel{1, 1}, stride{1, 1}, dilation{1, 1}, pad_begin{0, 0}, pad_end{0, 0};
  int64_t groups = 1;
  bool relu = false;

  auto operator<=>(const ConvProblem&) const = default;
  /// "[32, 14, 14, 160] * [320, 3, 3, 160] -> [32, 14, 14, 320]", strides where they are not dense
  std::string text() const;
};

/// What the library thinks of its algorithm for a problem: what it is made for; something that does it as
/// well as it can; something slow that does everything.
enum class Standing { kRecommended, kOffered, kFallback };

/// A problem's chosen algorithm. Plans of one library are used by one thread at a time.
class ConvPlan {
 public:
  virtual ~ConvPlan() = default;
  virtual std::string name() const = 0;  ///< of the algorithm, for profiles
  virtual Standing standing() const { return Standing::kRecommended; }
  virtual int64_t workspace_bytes() const = 0;
  /// What the bias is made of: the problem's element or float32.
  virtual Element bias_element() const = 0;
  /// Enqueues. All pointers on the device; 16-byte aligned, the workspace 256.
  /// weight  [outputs, kernel height, kernel width, channels / groups]
  /// bias    [outputs]
  virtual void run(cudaStream_t stream, const void* src, const void* weight, const void* bias, void* dst,
                   void* workspace) = 0;
};

class ConvolutionLibrary {
 public:
  virtual ~ConvolutionLibrary() = default;
  virtual std::string description() const = 0;  ///< "cuDNN 9.19.0"
  /// The library's choice for this problem, the same at every call; null when it has none, and then
  /// `why_not` says why in one line. Throws DeviceError when the library itself fails.
  virtual std::shared_ptr<ConvPlan> plan(const ConvProblem& problem, std::string& why_not) = 0;
};

/// For device `index`. Throws DeviceError when the library cannot be used, saying what to do.
std::unique_ptr<ConvolutionLibrary> make_convolution_library(int index);

}  // namespace branchsae::cuda
