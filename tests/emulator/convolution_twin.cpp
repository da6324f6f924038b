/// Stands in for cuDNN in the emulated backend: convolutions by plain loops in stream order, with the
/// rounding of the problem's element. Takes every problem unless a test says otherwise.
#include "tests/emulator/convolution_twin.h"

#include <deque>

#include "cuda/arch/types.cuh"
#include "cuda/error.h"

namespace branchsae::emulator {
namespace {

using cuda::ConvPlan;
using cuda::ConvProblem;
using cuda::Element;

/// One call's operands, kept for graphs that run it again.
struct Call {
  const ConvProblem* problem;
  const void *src, *weight, *bias;
  void* dst;
};

float number(const void* data, Element element, int64_t at) {
  switch (element) {
    case Element::kF16:
      return cuda::to_float(static_cast<const cuda::Half*>(data)[at]);
    case Element::kBf16:
      return cuda::to_float(static_cast<const cuda::Bf16*>(data)[at]);
    case Element::kF32:
      break;
  }
  return static_cast<const float*>(data)[at];
}

void store(void* data, Element element, int64_t at, float value) {
  switch (element) {
    case Element::kF16:
      static_cast<cuda::Half*>(data)[at] = cuda::to_half(value);
      return;
    case Element::kBf16:
      static_cast<cuda::Bf16*>(data)[at] = cuda::to_bf16(value);
      return;
    case Element::kF32:
      static_cast<float*>(data)[at] = value;
  }
}

/// `count` numbers as products take them.
void read(const void* data, Element element, bool tf32, int64_t first, std::vector<float>& to) {
  for (size_t i = 0; i < to.size(); ++i) {
    const float value = number(data, element, first + static_cast<int64_t>(i));
    to[i] = tf32 ? cuda::as_float(cuda::to_tf32(value)) : value;
  }
}

class Loops {
 public:
  explicit Loops(const Call& call)
      : p_(*call.problem),
        call_(call),
        inputs_(p_.channels / p_.groups),
        src_(static_cast<size_t>(p_.images * p_.height * p_.width * p_.channels)),
        // Inputs outside, outputs inside, so that the innermost loop is a vector's.
        weight_(static_cast<size_t>(p_.outputs * p_.kernel[0] * p_.kernel[1] * inputs_)) {
    std::vector<float> pixel(static_cast<size_t>(p_.channels));
    for (int64_t i = 0; i < p_.images * p_.height * p_.width; ++i) {
      read(call.src, p_.element, p_.tf32, i * p_.src_pixel_stride, pixel);
      std::copy(pixel.begin(), pixel.end(), src_.begin() + i * p_.channels);
    }
    const int64_t taps = p_.kernel[0] * p_.kernel[1] * inputs_;
    std::vector<float> row(static_cast<size_t>(taps));
    for (int64_t o = 0; o < p_.outputs; ++o) {
      read(call.weight, p_.element, p_.tf32, o * taps, row);
      for (int64_t i = 0; i < taps; ++i)
        weight_[static_cast<size_t>(i * p_.outputs + o)] = row[static_cast<size_t>(i)];
    }
  }

  void run() const {
    std::vector<float> sums(static_cast<size_t>(p_.outputs));
    for (int64_t n = 0; n < p_.images; ++n) {
      for (int64_t y = 0; y < p_.out_height; ++y) {
        for (int64_t x = 0; x < p_.out_width; ++x) {
          std::fill(sums.begin(), sums.end(), 0.0F);
          slide(n, y, x, sums);
          write((n * p_.out_height + y) * p_.out_width + x, sums);
        }
      }
    }
  }

 private:
  void slide(int64_t n, int64_t y, int64_t x, std::vector<float>& sums) const {
    for (int64_t ky = 0; ky < p_.kernel[0]; ++ky) {
      const int64_t from_y = y * p_.stride[0] - p_.pad_begin[0] + ky * p_.dilation[0];
      if (from_y < 0 || from_y >= p_.height) continue;
      for (int64_t kx = 0; kx < p_.kernel[1]; ++kx) {
        const int64_t from_x = x * p_.stride[1] - p_.pad_begin[1] + kx * p_.dilation[1];
        if (from_x < 0 || from_x >= p_.width) continue;
        const float* pixel = src_.data() + ((n * p_.height + from_y) * p_.width + from_x) * p_.channels;
        add(pixel, weight_.data() + (ky * p_.kernel[1] + kx) * inputs_ * p_.outputs, sums);
      }
    }
  }

  void add(const float* pixel, const float* weight, std::vector<float>& sums) const {
    const int64_t outputs = p_.outputs / p_.groups;
    for (int64_t g = 0; g < p_.groups; ++g) {
      for (int64_t i = 0; i < inputs_; ++i) {
        const float value = pixel[g * inputs_ + i];
        const float* row = weight + i * p_.outputs + g * outputs;
        float* to = sums.data() + g * outputs;
        for (int64_t o = 0; o < outputs; ++o) to[o] += value * row[o];
      }
    }
  }

  void write(int64_t pixel, const std::vector<float>& sums) const {
    for (int64_t o = 0; o < p_.outputs; ++o) {
      float value = sums[static_cast<size_t>(o)] + number(call_.bias, p_.element, o);
      if (p_.relu && value < 0) value = 0;
      store(call_.dst, p_.element, pixel * p_.dst_pixel_stride + o, value);
    }
  }

  const ConvProblem& p_;
  const Call& call_;
  int64_t inputs_;
  std::vector<float> src_, weight_;
};

class TwinPlan final : public ConvPlan {
 public:
  explicit TwinPlan(const ConvProblem& problem) : problem_(problem) {}
  std::string name() const override { return "loops"; }
  int64_t workspace_bytes() const override { return kWorkspaceBytes; }
  Element bias_element() const override { return problem_.element; }

  void run(cudaStream_t stream, const void* src, const void* weight, const void* bias, void* dst,
           void* workspace) override {
    if (convolution_twin().waits) cuda::check(cudaStreamSynchronize(stream), "wait inside a convolution");
    calls_.push_back({&problem_, src, weight, bias, dst});
    // What a real library would do to it.
    cuda::check(cudaMemsetAsync(workspace, 0x5a, kWorkspaceBytes, stream), "use the work space");
    cuda::check(cudaLaunchHostFunc(
                    stream, [](void* call) { Loops(*static_cast<const Call*>(call)).run(); }, &calls_.back()),
                "enqueue a convolution");
  }

 private:
  static constexpr int64_t kWorkspaceBytes = 512;
  ConvProblem problem_;
  std::deque<Call> calls_;
};

class TwinLibrary final : public cuda::ConvolutionLibrary {
 public:
  std::string description() const override { return "twin of cuDNN"; }
  std::shared_ptr<ConvPlan> plan(const ConvProblem& problem, std::string& why_not) override {
    ++convolution_twin().problems;
    if (const auto& refuses = convolution_twin().refuses) why_not = refuses(problem);
    if (!why_not.empty()) return nullptr;
    return std::make_shared<TwinPlan>(problem);
  }
};

}  // namespace

ConvolutionTwin& convolution_twin() {
  static ConvolutionTwin twin;
  return twin;
}

}  // namespace branchsae::emulator

namespace branchsae::cuda {

std::unique_ptr<ConvolutionLibrary> make_convolution_library(int) {
  return std::make_unique<emulator::TwinLibrary>();
}

}  // namespace branchsae::cuda
