#include "cpu/network/onednn.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae::cpu {

using Tag = dnnl::memory::format_tag;

int64_t native_block() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto avx512 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return (isa & avx512) == avx512 ? 16 : 8;
}

dnnl::memory::desc activation_desc(const Layout& layout, int64_t images) {
  const Tag tag = layout.block == 16 ? Tag::nChw16c : layout.block == 8 ? Tag::nChw8c : Tag::nchw;
  return {{images, layout.padded_channels(), layout.h, layout.w}, dnnl::memory::data_type::f32, tag};
}

void BoundPrimitive::set(size_t call, int argument, const dnnl::memory& memory) {
  if (calls_.size() <= call) calls_.resize(call + 1);
  calls_[call].push_back({argument, memory.get()});
  memories_.push_back(memory);
}

void BoundPrimitive::execute(const dnnl::stream& stream) const {
  for (const std::vector<dnnl_exec_arg_t>& arguments : calls_) {
    const dnnl_status_t status = dnnl_primitive_execute(primitive_.get(), stream.get(),
                                                        static_cast<int>(arguments.size()), arguments.data());
    if (status != dnnl_success)
      throw DeviceError(fmt::format("oneDNN failed with status {}", static_cast<int>(status)));
  }
}

bool is_reference_implementation(std::string_view implementation) {
  return implementation.starts_with("ref");
}

}  // namespace branchsae::cpu
