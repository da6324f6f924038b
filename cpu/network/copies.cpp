#include "cpu/network/copies.h"

#include <algorithm>
#include <cstring>

#include "cpu/threads.h"

namespace branchsae::cpu {
namespace {

void copy_floats(float* dst, const float* src, int64_t count) {
  std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
}

/// Whole channel blocks: a run of memory per image and block.
void copy_blocks(const Blob& src, const Blob& dst, int64_t first_block) {
  const int64_t blocks = src.layout.blocks();
  parallel_for(src.layout.n * blocks, [&](int64_t i) {
    const int64_t image = i / blocks, block = i % blocks;
    copy_floats(dst.plane(image, first_block + block), src.plane(image, block), src.layout.plane_size());
  });
}

/// One channel of one image, both sides strided.
void copy_one_channel(const Blob& src, int64_t src_channel, const Blob& dst, int64_t dst_channel,
                      int64_t image) {
  const int64_t from = src.layout.block, to = dst.layout.block;
  const float* in = src.plane(image, src_channel / from) + src_channel % from;
  float* out = dst.plane(image, dst_channel / to) + dst_channel % to;
  for (int64_t pixel = 0; pixel < src.layout.h * src.layout.w; ++pixel) out[pixel * to] = in[pixel * from];
}

class Reblock final : public UnaryLayer {
 public:
  using UnaryLayer::UnaryLayer;
  LayerPtr clone() const override { return std::make_unique<Reblock>(*this); }
  void run(const Chunk&) override {
    copy_channels(src_, dst_, 0);
    zero_padding_channels(dst_);
  }
};

class Concat final : public Layer {
 public:
  Concat(std::vector<ConcatPart> parts, const Slot& dst) : parts_(std::move(parts)), dst_slot_(dst) {
    for (const ConcatPart& part : parts_) info.bytes += 2 * part.src.size_bytes();
  }
  LayerPtr clone() const override { return std::make_unique<Concat>(*this); }
  void bind(const Addresses& addresses) override {
    for (const ConcatPart& part : parts_) sources_.push_back(addresses.at(part.src));
    dst_ = addresses.at(dst_slot_);
  }
  void run(const Chunk&) override {
    for (size_t i = 0; i < parts_.size(); ++i) copy_channels(sources_[i], dst_, parts_[i].first_channel);
    zero_padding_channels(dst_);
  }

 private:
  std::vector<ConcatPart> parts_;
  Slot dst_slot_;
  std::vector<Blob> sources_;
  Blob dst_;
};

class Flatten final : public UnaryLayer {
 public:
  using UnaryLayer::UnaryLayer;
  LayerPtr clone() const override { return std::make_unique<Flatten>(*this); }
  void run(const Chunk&) override {
    const Layout& in = src_.layout;
    const int64_t pixels = in.h * in.w;
    parallel_for(in.n * in.c, [&](int64_t i) {
      const int64_t image = i / in.c, channel = i % in.c;
      const float* from = src_.plane(image, channel / in.block) + channel % in.block;
      float* to = dst_.data + image * dst_.image_stride + channel * pixels;  // a row has no grid: it is dense
      for (int64_t pixel = 0; pixel < pixels; ++pixel) to[pixel] = from[pixel * in.block];
    });
    zero_padding_channels(dst_);
  }
};

class Pad final : public UnaryLayer {
 public:
  Pad(const PadOp& op, const Slot& src, const Slot& dst) : UnaryLayer(src, dst), pad_(op) {}
  LayerPtr clone() const override { return std::make_unique<Pad>(*this); }
  void run(const Chunk&) override {
    const Layout& out = dst_.layout;
    const int64_t rows = out.blocks() * out.h;
    parallel_for(out.n * rows, [&](int64_t i) {
      const int64_t image = i / rows, block = i % rows / out.h, y = i % out.h;
      write_row(src_.plane(image, block), dst_.plane(image, block) + y * out.w * out.block,
                y - pad_.begin[0]);
    });
    if (pad_.value != 0) zero_padding_channels(dst_);
  }

 private:
  /// Negative pads crop. `y` counts in src.
  void write_row(const float* plane, float* row, int64_t y) const {
    const Layout& in = src_.layout;
    const int64_t block = in.block, width = dst_.layout.w;
    std::fill(row, row + width * block, pad_.value);
    if (y < 0 || y >= in.h) return;
    const int64_t begin = std::max<int64_t>(0, pad_.begin[1]), end = std::min(width, pad_.begin[1] + in.w);
    if (end <= begin) return;
    copy_floats(row + begin * block, plane + (y * in.w + begin - pad_.begin[1]) * block,
                (end - begin) * block);
  }
  PadOp pad_;
};

class Capture final : public Layer {
 public:
  Capture(const Slot& src, int64_t begin, int64_t end, float* tokens, int64_t width, int64_t column)
      : slot_(src), begin_(begin), end_(end), tokens_(tokens), width_(width), column_(column) {
    info.bytes =
        2 * src.layout.n * src.layout.h * src.layout.w * (end - begin) * static_cast<int64_t>(sizeof(float));
  }
  LayerPtr clone() const override { return std::make_unique<Capture>(*this); }
  void bind(const Addresses& addresses) override { src_ = addresses.at(slot_); }
  void run(const Chunk& chunk) override {
    const int64_t height = src_.layout.h;
    parallel_for(chunk.count * height, [&](int64_t i) { capture_row(chunk, i / height, i % height); });
  }

 private:
  void capture_row(const Chunk& chunk, int64_t image, int64_t y) const {
    const Layout& layout = src_.layout;
    float* row = tokens_ + ((chunk.first + image) * layout.h + y) * layout.w * width_ + column_;
    for (int64_t x = 0; x < layout.w; ++x, row += width_) capture_pixel(image, y * layout.w + x, row);
  }
  void capture_pixel(int64_t image, int64_t pixel, float* token) const {
    const int64_t block = src_.layout.block;
    for (int64_t channel = begin_; channel < end_;) {
      const int64_t lane = channel % block, count = std::min(block - lane, end_ - channel);
      const float* from = src_.plane(image, channel / block) + pixel * block + lane;
      if (count == 16) {
        std::memcpy(token, from, 16 * sizeof(float));  // a constant size becomes one vector move
      } else {
        copy_floats(token, from, count);
      }
      token += count;
      channel += count;
    }
  }

  Slot slot_;
  int64_t begin_, end_;
  float* tokens_;
  int64_t width_, column_;
  Blob src_;
};

}  // namespace

void copy_channels(const Blob& src, const Blob& dst, int64_t first_channel) {
  const Layout& in = src.layout;
  const int64_t block = dst.layout.block;
  const bool fills_last = in.c % block == 0 || first_channel + in.c == dst.layout.c;
  if (in.block == block && first_channel % block == 0 && fills_last) {
    copy_blocks(src, dst, first_channel / block);
    return;
  }
  parallel_for(in.n * in.c, [&](int64_t i) {
    const int64_t image = i / in.c, channel = i % in.c;
    copy_one_channel(src, channel, dst, first_channel + channel, image);
  });
}

LayerPtr make_reblock(const Slot& src, const Slot& dst) {
  return std::make_unique<Reblock>(src, dst);
}

LayerPtr make_concat(std::vector<ConcatPart> parts, const Slot& dst) {
  return std::make_unique<Concat>(std::move(parts), dst);
}

LayerPtr make_flatten(const Slot& src, const Slot& dst) {
  return std::make_unique<Flatten>(src, dst);
}

LayerPtr make_pad(const PadOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Pad>(op, src, dst);
}

LayerPtr make_capture(const Slot& src, int64_t begin, int64_t end, float* tokens, int64_t width,
                      int64_t column) {
  return std::make_unique<Capture>(src, begin, end, tokens, width, column);
}

}  // namespace branchsae::cpu
