#include "cuda/network/copies.h"

#include <cstring>

#include "cuda/kernels/concat_channels.cuh"
#include "cuda/kernels/copy_image.cuh"
#include "cuda/kernels/flatten.cuh"
#include "cuda/kernels/gather_taps.cuh"
#include "cuda/launch.h"
#include "cuda/network/dispatch.cuh"

namespace branchsae::cuda {
namespace {

class Concat final : public Layer {
 public:
  Concat(std::vector<ConcatInput> inputs, const Slot& dst) : inputs_(std::move(inputs)), dst_slot_(dst) {}
  void bind(const Addresses& addresses) override {
    sources_.clear();
    for (const ConcatInput& input : inputs_) sources_.push_back(addresses.at(input.src));
    dst_ = addresses.at(dst_slot_);
  }
  void enqueue(cudaStream_t stream) override {
    with_element(dst_.layout.element, [&](auto tag) { run<typename decltype(tag)::type>(stream); });
  }

 private:
  template <class T>
  void run(cudaStream_t stream) const {
    int64_t channel = 0;
    for (size_t first = 0; first < inputs_.size(); first += kConcatParts) {
      ConcatParts<T> parts{};
      for (size_t i = first; i < inputs_.size() && parts.count < kConcatParts; ++i) {
        const Activation& src = sources_[i];
        const T* data = inputs_[i].in_place ? nullptr : static_cast<const T*>(src.data);
        const int64_t end = channel + src.layout.c;
        parts.part[parts.count++] = {data, src.pixel_stride, static_cast<int32_t>(channel),
                                     static_cast<int32_t>(end)};
        channel = end;
      }
      launch(concat_channels_kernel<T>, "concat_channels",
             {.grid = group_blocks(dst_.layout), .block = kNhwcBlock}, stream, parts, nhwc<T>(dst_));
    }
  }

  std::vector<ConcatInput> inputs_;
  Slot dst_slot_;
  std::vector<Activation> sources_;
  Activation dst_;
};

class Pad final : public UnaryLayer {
 public:
  Pad(const PadOp& op, const Slot& src, const Slot& dst) : UnaryLayer(src, dst), pad_(op) {}
  void enqueue(cudaStream_t stream) override {
    copy_image(stream, src_, dst_, pad_.begin[0], pad_.begin[1], pad_.value);
  }

 private:
  PadOp pad_;
};

class Flatten final : public UnaryLayer {
 public:
  using UnaryLayer::UnaryLayer;
  void enqueue(cudaStream_t stream) override {
    with_element(src_.layout.element, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(flatten_kernel<T>, "flatten", {.grid = group_blocks(dst_.layout), .block = kNhwcBlock}, stream,
             nhwc<const T>(src_), nhwc<float>(dst_));
    });
  }
};

TapElement tap_element(Element element) {
  switch (element) {
    case Element::kF16:
      return TapElement::kF16;
    case Element::kBf16:
      return TapElement::kBf16;
    case Element::kF32:
      break;
  }
  return TapElement::kF32;
}

}  // namespace

void copy_image(cudaStream_t stream, const Activation& src, const Activation& dst, int64_t top, int64_t left,
                float value) {
  with_element(dst.layout.element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(copy_image_kernel<T>, "copy_image", {.grid = group_blocks(dst.layout), .block = kNhwcBlock},
           stream, nhwc<const T>(src), nhwc<T>(dst), static_cast<int32_t>(top), static_cast<int32_t>(left),
           value);
  });
}

LayerPtr make_concat(std::vector<ConcatInput> inputs, const Slot& dst) {
  return std::make_unique<Concat>(std::move(inputs), dst);
}
LayerPtr make_pad(const PadOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Pad>(op, src, dst);
}
LayerPtr make_flatten(const Slot& src, const Slot& dst) {
  return std::make_unique<Flatten>(src, dst);
}

GatherTaps::GatherTaps(std::vector<TapCopy> copies, WeightStore& weights) : copies_(std::move(copies)) {
  std::vector<TapItem> items;
  for (size_t i = 0; i < copies_.size(); ++i) {
    const int64_t rows = copies_[i].src.layout.pixels();
    for (int64_t first = 0; first * kTapRows < rows; ++first) {
      items.push_back({static_cast<int32_t>(i), static_cast<int32_t>(first)});
    }
  }
  blocks_ = static_cast<int64_t>(items.size());
  items_offset_ = weights.add_bytes(items.data(), static_cast<int64_t>(items.size() * sizeof(TapItem)));
  table_.resize(copies_.size() * sizeof(TapPartRows));  // addresses follow in bind()
  table_offset_ = weights.add_bytes(table_.data(), static_cast<int64_t>(table_.size()));
}

void GatherTaps::bind(const Addresses& addresses) {
  items_ = addresses.weight(items_offset_);
  table_address_ = addresses.weights + table_offset_;
  for (size_t i = 0; i < copies_.size(); ++i) {
    const TapCopy& copy = copies_[i];
    const Activation src = addresses.at(copy.src);
    const auto* data = static_cast<const std::byte*>(src.data);
    const TapPartRows part{data + copy.begin * element_bytes(src.layout.element),
                           src.pixel_stride,
                           reinterpret_cast<float*>(taps_ + copy.dst_offset) + copy.column,
                           copy.width,
                           src.layout.pixels(),
                           static_cast<int32_t>(copy.end - copy.begin),
                           tap_element(src.layout.element)};
    std::memcpy(table_.data() + i * sizeof(part), &part, sizeof(part));
  }
}

void GatherTaps::enqueue(cudaStream_t stream) {
  launch(gather_taps_kernel, "gather_taps", {.grid = blocks_, .block = kNhwcBlock}, stream,
         reinterpret_cast<const TapPartRows*>(table_address_), static_cast<const TapItem*>(items_));
}

}  // namespace branchsae::cuda
