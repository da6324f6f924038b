#include <algorithm>

#include "cpu/network/convolution.h"
#include "cpu/network/copies.h"
#include "cpu/network/packed_weights.h"
#include "engine/error.h"

namespace branchsae::cpu {
namespace {

using Forward = dnnl::inner_product_forward;
using Tag = dnnl::memory::format_tag;
constexpr auto kF32 = dnnl::memory::data_type::f32;

/// [padded O, image_size]: column (block, y, x, lane) of src's layout gets the weight of its place in NCHW
/// order.
HostTensor permuted_weight(const HostTensor& weight, const Layout& src, int64_t outputs) {
  HostTensor permuted(Shape{outputs, src.image_size()});
  const int64_t pixels = src.h * src.w;
  for (int64_t output = 0; output < weight.dim(0); ++output) {
    const float* from = weight.data() + output * weight.dim(1);
    float* to = permuted.data() + output * src.image_size();
    for (int64_t channel = 0; channel < src.c; ++channel) {
      float* column = to + channel / src.block * src.plane_size() + channel % src.block;
      for (int64_t pixel = 0; pixel < pixels; ++pixel)
        column[pixel * src.block] = from[channel * pixels + pixel];
    }
  }
  return permuted;
}

Forward::primitive_desc primitive_desc(const dnnl::engine& engine, const Layout& src, const Layout& dst,
                                       bool relu) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (relu) {
    dnnl::post_ops after;
    after.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
    attributes.set_post_ops(after);
  }
  const int64_t inputs = src.image_size(), outputs = dst.padded_channels();
  const Forward::desc desc(dnnl::prop_kind::forward_inference, {{src.n, inputs}, kF32, Tag::nc},
                           {{outputs, inputs}, kF32, Tag::any}, {{outputs}, kF32, Tag::x},
                           {{src.n, outputs}, kF32, Tag::nc});
  return {desc, attributes, engine};
}

class Linear final : public Layer {
 public:
  Linear(OnednnContext& context, const LinearOp& op, const Slot& src, const Slot& dst)
      : context_(context),
        src_slot_(src),
        dst_slot_(dst),
        desc_(primitive_desc(context.engine, src.layout, dst.layout, op.relu)),
        weight_(context, permuted_weight(*op.weight, src.layout, dst.layout.padded_channels()),
                desc_.weights_desc()),
        bias_(context, padded_vector(*op.bias, dst.layout.padded_channels()), desc_.bias_desc()) {
    info.implementation = desc_.impl_info_str();
    info.flops = 2 * op.weight->size() * dst.layout.n;
  }

  int64_t weight_bytes() const override { return weight_.size_bytes() + bias_.size_bytes(); }

  int64_t scratch_bytes() const override {
    const Layout& layout = src_slot_.layout;
    return scratchpad_bytes() + (src_slot_.dense() ? 0 : layout.n * layout.image_size() * 4);
  }

  void bind(const Addresses& addresses) override {
    own_src_ = src_ = addresses.at(src_slot_);
    if (!src_slot_.dense()) {
      src_.data = reinterpret_cast<float*>(addresses.scratch + scratchpad_bytes());
      src_.image_stride = src_.layout.image_size();
    }
    const auto memory = [&](const dnnl::memory::desc& desc, void* pointer) {
      return dnnl::memory(desc, context_.engine, pointer);
    };
    primitive_ = BoundPrimitive(Forward(desc_));
    primitive_.set(0, DNNL_ARG_SRC, memory(desc_.src_desc(), src_.data));
    primitive_.set(0, DNNL_ARG_WEIGHTS, weight_.memory());
    primitive_.set(0, DNNL_ARG_BIAS, bias_.memory());
    primitive_.set(0, DNNL_ARG_DST, memory(desc_.dst_desc(), addresses.at(dst_slot_).data));
    primitive_.set(0, DNNL_ARG_SCRATCHPAD, memory(desc_.scratchpad_desc(), addresses.scratch));
  }

  void run(const Chunk&) override {
    if (!src_slot_.dense()) copy_channels(own_src_, src_, 0);
    primitive_.execute(context_.stream);
  }

 private:
  int64_t scratchpad_bytes() const {
    return (static_cast<int64_t>(desc_.scratchpad_desc().get_size()) + 63) / 64 * 64;
  }

  OnednnContext& context_;
  Slot src_slot_, dst_slot_;
  Forward::primitive_desc desc_;
  PackedWeights weight_, bias_;
  Blob own_src_, src_;
  BoundPrimitive primitive_;
};

}  // namespace

LayerPtr make_linear(OnednnContext& context, const LinearOp& op, const Slot& src, const Slot& dst) {
  if (!dst.dense()) throw DeviceError("a linear layer cannot write into a slice");
  return std::make_unique<Linear>(context, op, src, dst);
}

}  // namespace branchsae::cpu
