#pragma once
/// What tests may ask of the twin of the convolution library.
#include <functional>
#include <string>

#include "cuda/network/convolution.h"

namespace branchsae::emulator {

struct ConvolutionTwin {
  /// Why the library does not take a problem; "" for those it takes. Unset: it takes all.
  std::function<std::string(const cuda::ConvProblem&)> refuses;
  bool waits = false;    ///< every convolution waits for its stream, which no capture allows
  int64_t problems = 0;  ///< it was asked about
};
ConvolutionTwin& convolution_twin();

}  // namespace branchsae::emulator
