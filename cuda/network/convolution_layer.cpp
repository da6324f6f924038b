#include "cuda/network/convolution_layer.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/network/copies.h"
#include "engine/error.h"
#include "engine/passes.h"

namespace branchsae::cuda {
namespace {

constexpr int64_t kScratchAlignment = 256;

int64_t aligned(int64_t size_bytes) {
  return (size_bytes + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
}
int64_t dense_bytes(const Layout& layout) {
  return aligned(layout.pixels() * layout.padded_channels() * element_bytes(layout.element));
}

/// How a convolution is put to the library.
struct Choice {
  ConvProblem problem;
  bool copies_src = false, copies_dst = false;
  int64_t top = 0, left = 0;  ///< where the input lies in its copy
  std::shared_ptr<ConvPlan> plan;
};

/// The end padding that the library is told: as at the beginning where that gives the same output, since
/// symmetric padding is what most algorithms take.
int64_t end_padding(const Window& window, size_t axis, int64_t in, const WindowExtent& extent) {
  const int64_t reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
  const int64_t used = (extent.out - 1) * window.stride[axis] + reach - in - extent.pad_begin;
  const bool symmetric = extent.pad_begin >= used && extent.pad_begin < used + window.stride[axis];
  return symmetric ? extent.pad_begin : extent.pad_end;
}

/// Padding channels inside a group would shift the next group's.
bool groups_are_whole(const ConvProblem& problem, const Slot& src, const Slot& dst) {
  return problem.groups == 1 || (src.layout.c == problem.channels && dst.layout.c == problem.outputs);
}

/// Offers the convolution to the library in several ways and keeps the first that it does not call a
/// fallback.
class Chooser {
 public:
  Chooser(ConvolutionLibrary& library, const Slot& src, const Slot& dst)
      : library_(library), src_(src), dst_(dst) {}

  Choice choose(const ConvProblem& given) {
    if (groups_are_whole(given, src_, dst_)) offer(given);
    if (given.groups > 1 && !good()) {
      ConvProblem one_group = given;
      one_group.groups = 1;
      offer(one_group);
    }
    if (best_.plan == nullptr) {
      throw DeviceError(
          fmt::format("{} has no convolution {}: {}", library_.description(), given.text(), reasons_));
    }
    return best_;
  }

 private:
  bool good() const { return best_.plan != nullptr && best_.plan->standing() != Standing::kFallback; }

  void offer(const ConvProblem& problem) {
    const bool src_copy_helps = !src_.dense() || problem.pad_begin != problem.pad_end;
    for (const bool copies_src : {false, true}) {
      for (const bool copies_dst : {false, true}) {
        if ((copies_src && !src_copy_helps) || (copies_dst && dst_.dense()) || good()) continue;
        Choice choice = with_copies(problem, copies_src, copies_dst);
        ask(choice);
        if (choice.plan == nullptr) continue;
        const bool better = best_.plan == nullptr || choice.plan->standing() < best_.plan->standing();
        if (better) best_ = std::move(choice);
      }
    }
  }

  static Choice with_copies(ConvProblem problem, bool copies_src, bool copies_dst) {
    Choice choice{.problem = {}, .copies_src = copies_src, .copies_dst = copies_dst, .plan = nullptr};
    if (copies_src) {
      choice.top = problem.pad_begin[0];
      choice.left = problem.pad_begin[1];
      problem.src_pixel_stride = problem.channels;
      problem.height += problem.pad_begin[0] + problem.pad_end[0];
      problem.width += problem.pad_begin[1] + problem.pad_end[1];
      problem.pad_begin = problem.pad_end = {0, 0};
    }
    if (copies_dst) problem.dst_pixel_stride = problem.outputs;
    choice.problem = problem;
    return choice;
  }

  void ask(Choice& choice) {
    std::string why_not;
    choice.plan = library_.plan(choice.problem, why_not);
    if (choice.plan == nullptr && reasons_.find(why_not) == std::string::npos) {
      reasons_ += (reasons_.empty() ? "" : "; ") + why_not;
    }
  }

  ConvolutionLibrary& library_;
  const Slot &src_, &dst_;
  std::string reasons_;
  Choice best_;
};

/// [outputs][KH][KW][channels / groups] as the problem counts them, zeros for padding channels and, where the
/// problem has fewer groups than the op, between groups.
class WeightPacker {
 public:
  explicit WeightPacker(const ConvProblem& problem)
      : problem_(problem), inputs_(problem.channels / problem.groups) {
    weight.resize(static_cast<size_t>(problem.outputs * problem.kernel[0] * problem.kernel[1] * inputs_));
    bias.resize(static_cast<size_t>(problem.outputs));
  }

  void add(const ConvPart& part) {
    const HostTensor& from = *part.op->weight;
    const int64_t outputs = from.dim(0), inputs = from.dim(1), kernel = from.dim(2) * from.dim(3);
    const bool spread = part.op->groups != problem_.groups;
    for (int64_t o = 0; o < outputs; ++o) {
      const int64_t first_input = spread ? o / (outputs / part.op->groups) * inputs : 0;
      const int64_t to = (part.first_output + o) * kernel * inputs_ + first_input;
      for (int64_t i = 0; i < inputs; ++i) {
        for (int64_t k = 0; k < kernel; ++k) {
          weight[static_cast<size_t>(to + k * inputs_ + i)] = from[(o * inputs + i) * kernel + k];
        }
      }
      bias[static_cast<size_t>(part.first_output + o)] = (*part.op->bias)[o];
    }
  }

  std::vector<float> weight, bias;

 private:
  const ConvProblem& problem_;
  int64_t inputs_;
};

class Convolution final : public UnaryLayer {
 public:
  Convolution(const std::vector<ConvPart>& parts, const Slot& src, const Slot& dst, Choice choice,
              WeightStore& weights)
      : UnaryLayer(src, dst), choice_(std::move(choice)) {
    const ConvProblem& problem = choice_.problem;
    WeightPacker packer(problem);
    for (const ConvPart& part : parts) {
      packer.add(part);
      info.flops += 2 * part.op->weight->size() * dst.layout.pixels();
    }
    weight_ = weights.add(packer.weight, problem.element);
    bias_ = weights.add(packer.bias, choice_.plan->bias_element());
    info.implementation = choice_.plan->name();
    if (choice_.copies_src) info.implementation += ", input copied";
    if (choice_.copies_dst) info.implementation += ", output copied";
    frame_ = src.layout;
    frame_.h = problem.height;
    frame_.w = problem.width;
  }

  int64_t scratch_bytes() const override {
    return src_bytes() + dst_bytes() + choice_.plan->workspace_bytes();
  }

  void bind(const Addresses& addresses) override {
    UnaryLayer::bind(addresses);
    read_ = src_;
    written_ = dst_;
    if (choice_.copies_src) read_ = {addresses.scratch, frame_, frame_.padded_channels()};
    if (choice_.copies_dst) {
      written_ = {addresses.scratch + src_bytes(), dst_.layout, dst_.layout.padded_channels()};
    }
    workspace_ = addresses.scratch + src_bytes() + dst_bytes();
    weight_address_ = addresses.weight(weight_);
    bias_address_ = addresses.weight(bias_);
  }

  void enqueue(cudaStream_t stream) override {
    if (choice_.copies_src) copy_image(stream, src_, read_, choice_.top, choice_.left);
    choice_.plan->run(stream, read_.data, weight_address_, bias_address_, written_.data, workspace_);
    if (choice_.copies_dst) copy_image(stream, written_, dst_);
  }

 private:
  int64_t src_bytes() const { return choice_.copies_src ? dense_bytes(frame_) : 0; }
  int64_t dst_bytes() const { return choice_.copies_dst ? dense_bytes(dst_slot_.layout) : 0; }

  Choice choice_;
  Layout frame_;  ///< of the input's copy, with padding
  int64_t weight_ = 0, bias_ = 0;
  Activation read_, written_;
  void* workspace_ = nullptr;
  const void *weight_address_ = nullptr, *bias_address_ = nullptr;
};

}  // namespace

ConvProblem conv_problem(const ConvOp& op, const Slot& src, const Slot& dst, bool tf32) {
  ConvProblem problem{.element = src.layout.element,
                      .tf32 = tf32,
                      .images = src.layout.n,
                      .channels = src.layout.padded_channels(),
                      .height = src.layout.h,
                      .width = src.layout.w,
                      .src_pixel_stride = src.pixel_stride,
                      .outputs = dst.layout.padded_channels(),
                      .out_height = dst.layout.h,
                      .out_width = dst.layout.w,
                      .dst_pixel_stride = dst.pixel_stride,
                      .kernel = op.window.kernel,
                      .stride = op.window.stride,
                      .dilation = op.window.dilation,
                      .pad_begin = {},
                      .pad_end = {},
                      .groups = op.groups,
                      .relu = op.relu};
  for (const int axis : {0, 1}) {
    const auto a = static_cast<size_t>(axis);
    const int64_t in = axis == 0 ? src.layout.h : src.layout.w;
    const WindowExtent extent = window_extent(op.window, axis, in, false);
    problem.pad_begin[a] = extent.pad_begin;
    problem.pad_end[a] = end_padding(op.window, a, in, extent);
  }
  return problem;
}

LayerPtr make_convolution(ConvolutionLibrary& library, const std::vector<ConvPart>& parts, const Slot& src,
                          const Slot& dst, bool tf32, WeightStore& weights) {
  Choice choice = Chooser(library, src, dst).choose(conv_problem(*parts.front().op, src, dst, tf32));
  return std::make_unique<Convolution>(parts, src, dst, std::move(choice), weights);
}

}  // namespace branchsae::cuda
