// The shared cases of networks on the CPU.
#include "tests/network_cases/network_device.h"

#include "tests/cpu/network_check.h"

namespace branchsae::test {
namespace {

NetworkWay way(const char* name, ConvAlgorithm conv, double three_by_three) {
  return {.name = name,
          .three_by_three = three_by_three,
          .worst_error = [conv](const Graph& graph, const std::vector<ValueId>& values,
                                const reference::Array& images) {
            return worst_error(graph, values, images, Setting{.conv = conv});
          }};
}

}  // namespace

const NetworkWay& usual_way() {
  // Winograd's transforms add roundings of their own: F(4,3) has been seen at 4e-6 to 6e-6 of the rms at
  // worst, so less in the norm.
  static const NetworkWay usual = way("automatic", ConvAlgorithm::kAuto, 5e-6);
  return usual;
}

const std::vector<NetworkWay>& arithmetic_ways() {
  static const std::vector<NetworkWay> ways{usual_way(), way("direct", ConvAlgorithm::kDirect, 0)};
  return ways;
}

const std::vector<NetworkWay>& concat_ways() {
  static const std::vector<NetworkWay> ways{usual_way()};
  return ways;
}

}  // namespace branchsae::test
