#pragma once
/// What the layers that run on oneDNN share.
#include <dnnl.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/network/layout.h"

namespace branchsae::cpu {

/// The channel block that oneDNN's convolutions prefer on this processor: 16 with AVX-512, else 8.
int64_t native_block();

/// [n, C, H, W] with C padded to whole blocks: to oneDNN the padding channels are ordinary ones. Its own
/// padding would be zeroed again at every call. Without `pad` (block 1 only) the true channels.
dnnl::memory::desc activation_desc(const Layout& layout, int64_t images);

/// A primitive with its arguments, executed through the C interface: the C++ one builds a list at every call.
class BoundPrimitive {
 public:
  BoundPrimitive() = default;
  explicit BoundPrimitive(dnnl::primitive primitive) : primitive_(std::move(primitive)) {}
  /// The argument list `call` gets this memory; memories are kept alive.
  void set(size_t call, int argument, const dnnl::memory& memory);
  /// Executes every call in order. Throws DeviceError.
  void execute(const dnnl::stream& stream) const;

 private:
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;
  std::vector<std::vector<dnnl_exec_arg_t>> calls_;
};

/// oneDNN's slow fallback: hundreds of times slower than the rest of a network.
bool is_reference_implementation(std::string_view implementation);

/// Engine and stream of one network.
struct OnednnContext {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};

}  // namespace branchsae::cpu
