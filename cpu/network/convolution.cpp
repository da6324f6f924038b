#include "cpu/network/convolution.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cpu/memory.h"
#include "cpu/network/copies.h"
#include "cpu/network/packed_weights.h"
#include "engine/error.h"
#include "engine/passes.h"

namespace branchsae::cpu {
namespace {

using Forward = dnnl::convolution_forward;
using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;
constexpr auto kF32 = dnnl::memory::data_type::f32;

/// How the convolution is put to oneDNN. Layouts that differ from the operands' own need a copy.
struct Plan {
  Layout src, dst;
  int64_t images = 1;  ///< of one call
  Forward::primitive_desc primitive;
};

/// Offers one convolution to oneDNN in several ways and keeps the first that is not its reference code.
class Planner {
 public:
  Planner(const dnnl::engine& engine, const ConvOp& op) : engine_(engine), op_(op) {}

  std::optional<Plan> choose(const Slot& src, const Slot& dst) const {
    const bool dense = src.dense() && dst.dense();
    for (const auto& [src_block, dst_block] : blocks_to_try(src.layout, dst.layout)) {
      Plan plan{.src = src.layout, .dst = dst.layout, .images = dense ? src.layout.n : 1, .primitive = {}};
      plan.src.block = src_block;
      plan.dst.block = dst_block;
      if (const bool copied = src_block != src.layout.block && dst_block != dst.layout.block; copied) {
        plan.images = src.layout.n;
      }
      if (!plan_is_exact(plan)) continue;
      plan.primitive = primitive_desc(plan);
      if (plan.primitive.get(true) == nullptr) continue;
      if (!is_reference_implementation(plan.primitive.impl_info_str())) return plan;
    }
    return std::nullopt;
  }

 private:
  using Blocks = std::pair<int64_t, int64_t>;
  std::vector<Blocks> blocks_to_try(const Layout& src, const Layout& dst) const {
    const int64_t native = native_block();
    std::vector<Blocks> blocks{{src.block, dst.block}};
    if (src.block != native) blocks.emplace_back(native, dst.block);
    blocks.emplace_back(1, 1);
    return blocks;
  }

  /// Padding channels inside a group would shift the next group's.
  bool plan_is_exact(const Plan& plan) const {
    if (op_.groups == 1) return true;
    return plan.src.c / op_.groups % plan.src.block == 0 && plan.dst.c / op_.groups % plan.dst.block == 0;
  }

  Forward::primitive_desc primitive_desc(const Plan& plan) const {
    const Window& window = op_.window;
    const WindowExtent rows = window_extent(window, 0, plan.src.h, false);
    const WindowExtent columns = window_extent(window, 1, plan.src.w, false);
    const int64_t outputs = plan.dst.padded_channels(), inputs = plan.src.padded_channels();
    Dims weight{outputs / op_.groups, inputs / op_.groups, window.kernel[0], window.kernel[1]};
    if (op_.groups > 1) weight.insert(weight.begin(), op_.groups);
    const dnnl::memory::desc weight_desc(weight, kF32, Tag::any), bias_desc({outputs}, kF32, Tag::x);
    const Forward::desc desc(dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
                             activation_desc(plan.src, plan.images), weight_desc, bias_desc,
                             activation_desc(plan.dst, plan.images), {window.stride[0], window.stride[1]},
                             {window.dilation[0] - 1, window.dilation[1] - 1},
                             {rows.pad_begin, columns.pad_begin},
                             {used_end_pad(rows, 0, plan.src.h), used_end_pad(columns, 1, plan.src.w)});
    return {desc, attributes(), engine_, /*allow_empty=*/true};
  }

  /// oneDNN wants the end padding that the last window really reaches; less than none is cropping, which it
  /// takes too.
  int64_t used_end_pad(const WindowExtent& extent, size_t axis, int64_t in) const {
    const Window& window = op_.window;
    const int64_t reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
    return (extent.out - 1) * window.stride[axis] + reach - in - extent.pad_begin;
  }

  dnnl::primitive_attr attributes() const {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (op_.relu) {
      dnnl::post_ops after;
      after.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
      attributes.set_post_ops(after);
    }
    return attributes;
  }

  const dnnl::engine& engine_;
  const ConvOp& op_;
};

/// [O, I/groups, KH, KW] with zero rows and columns for padding channels.
HostTensor padded_weight(const ConvOp& op, const Layout& src, const Layout& dst) {
  const HostTensor& weight = *op.weight;
  const int64_t inputs = weight.dim(1), kernel = weight.dim(2) * weight.dim(3);
  const int64_t padded_inputs = op.groups == 1 ? src.padded_channels() : inputs;
  HostTensor padded(Shape{dst.padded_channels(), padded_inputs, weight.dim(2), weight.dim(3)});
  for (int64_t output = 0; output < weight.dim(0); ++output) {
    std::copy_n(weight.data() + output * inputs * kernel, inputs * kernel,
                padded.data() + output * padded_inputs * kernel);
  }
  return padded;
}

/// Scratch memory in oneDNN's part and the copies' parts, each on its own cache lines.
int64_t aligned(int64_t size_bytes) {
  return (size_bytes + 63) / 64 * 64;
}
int64_t copy_bytes(const Layout& layout) {
  return aligned(layout.n * layout.image_size() * static_cast<int64_t>(sizeof(float)));
}

class Convolution final : public Layer {
 public:
  Convolution(OnednnContext& context, const ConvOp& op, const Slot& src, const Slot& dst, Plan plan)
      : context_(context),
        src_slot_(src),
        dst_slot_(dst),
        plan_(std::move(plan)),
        copies_src_(plan_.src.block != src.layout.block),
        copies_dst_(plan_.dst.block != dst.layout.block),
        weight_(std::make_shared<PackedWeights>(context, padded_weight(op, plan_.src, plan_.dst),
                                                plan_.primitive.weights_desc(), op.groups)),
        bias_(std::make_shared<PackedWeights>(context, padded_vector(*op.bias, plan_.dst.padded_channels()),
                                              plan_.primitive.bias_desc())) {
    info.implementation = plan_.primitive.impl_info_str();
    const HostTensor& w = *op.weight;
    info.flops = 2 * w.size() * dst.layout.n * dst.layout.h * dst.layout.w;
    info.bytes = src.size_bytes() + dst.size_bytes() + weight_bytes();
  }

  LayerPtr clone() const override { return std::make_unique<Convolution>(*this); }
  int64_t weight_bytes() const override { return weight_->size_bytes() + bias_->size_bytes(); }

  int64_t scratch_bytes() const override {
    return scratchpad_bytes() + (copies_src_ ? copy_bytes(plan_.src) : 0) +
           (copies_dst_ ? copy_bytes(plan_.dst) : 0);
  }

  void bind(const Addresses& addresses) override {
    src_ = own_src_ = addresses.at(src_slot_);
    dst_ = own_dst_ = addresses.at(dst_slot_);
    std::byte* scratch = addresses.scratch + scratchpad_bytes();
    if (copies_src_) {
      src_ = {reinterpret_cast<float*>(scratch), plan_.src, plan_.src.image_size()};
      scratch += copy_bytes(plan_.src);
    }
    if (copies_dst_) dst_ = {reinterpret_cast<float*>(scratch), plan_.dst, plan_.dst.image_size()};
    bind_primitive(addresses.scratch);
  }

  void run(const Chunk&) override {
    if (copies_src_) {
      copy_channels(own_src_, src_, 0);
      zero_padding_channels(src_);
    }
    primitive_.execute(context_.stream);
    if (copies_dst_) {
      copy_channels(dst_, own_dst_, 0);
      zero_padding_channels(own_dst_);
    }
  }

 private:
  int64_t scratchpad_bytes() const {
    return aligned(static_cast<int64_t>(plan_.primitive.scratchpad_desc().get_size()));
  }

  void bind_primitive(std::byte* scratch) {
    primitive_ = BoundPrimitive(Forward(plan_.primitive));
    const Forward::primitive_desc& desc = plan_.primitive;
    const auto memory = [&](const dnnl::memory::desc& d, void* pointer) {
      return dnnl::memory(d, context_.engine, pointer);  // does not own: arena and weights outlive it
    };
    for (int64_t first = 0; first < plan_.src.n; first += plan_.images) {
      const auto call = static_cast<size_t>(first / plan_.images);
      primitive_.set(call, DNNL_ARG_SRC, memory(desc.src_desc(), src_.plane(first, 0)));
      primitive_.set(call, DNNL_ARG_WEIGHTS, weight_->memory());
      primitive_.set(call, DNNL_ARG_BIAS, bias_->memory());
      primitive_.set(call, DNNL_ARG_DST, memory(desc.dst_desc(), dst_.plane(first, 0)));
      primitive_.set(call, DNNL_ARG_SCRATCHPAD, memory(desc.scratchpad_desc(), scratch));
    }
  }

  OnednnContext& context_;
  Slot src_slot_, dst_slot_;
  Plan plan_;
  bool copies_src_, copies_dst_;
  std::shared_ptr<const PackedWeights> weight_, bias_;
  Blob own_src_, own_dst_;  ///< the operands
  Blob src_, dst_;          ///< what oneDNN reads and writes: the operands or copies of them
  BoundPrimitive primitive_;
};

}  // namespace

LayerPtr make_convolution(OnednnContext& context, const ConvOp& op, const Slot& src, const Slot& dst) {
  std::optional<Plan> plan = Planner(context.engine, op).choose(src, dst);
  return plan ? std::make_unique<Convolution>(context, op, src, dst, std::move(*plan)) : nullptr;
}

}  // namespace branchsae::cpu
