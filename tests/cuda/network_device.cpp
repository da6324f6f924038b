// The shared cases of networks on the CUDA backend, emulated or real: in float32 mostly, since the kernels
// are the same in every precision and random graphs try the others.
#include "tests/network_cases/network_device.h"

#include "tests/cuda/network_check.h"

namespace branchsae::test {
namespace {

NetworkWay way(NetworkPrecision precision, const std::string& lowering) {
  const bool half = precision == NetworkPrecision::kF16;
  return {.name = (half ? "fp16 " : "fp32 ") + lowering,
          .short_numbers = half ? 2e-3 : 0,  // 2^-11 for a rounding, of operands and result, in a few layers
          .worst_error = [=](const Graph& graph, const std::vector<ValueId>& values,
                             const reference::Array& images) {
            return cuda::test::worst_error(graph, values, images,
                                           {.precision = precision, .lowering = lowering});
          }};
}

}  // namespace

const NetworkWay& usual_way() {
  static const NetworkWay usual = way(NetworkPrecision::kF32, "auto");
  return usual;
}

const std::vector<NetworkWay>& arithmetic_ways() {
  static const std::vector<NetworkWay> ways{usual_way(), way(NetworkPrecision::kF16, "auto")};
  return ways;
}

const std::vector<NetworkWay>& concat_ways() {
  static const std::vector<NetworkWay> ways{
      way(NetworkPrecision::kF32, "in-place"), way(NetworkPrecision::kF16, "in-place"),
      way(NetworkPrecision::kF32, "dense"), way(NetworkPrecision::kF16, "dense")};
  return ways;
}

}  // namespace branchsae::test
