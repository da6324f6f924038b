#include "cpu/network/winograd_weights.h"

#include <algorithm>
#include <array>

#include "cpu/memory.h"
#include "cpu/threads.h"

namespace branchsae::cpu {
namespace {

constexpr int kMaxTaps = 5;
constexpr int64_t kSquares = kWinogradPoints * kWinogradPoints;
using Row = std::array<double, kMaxTaps>;

/// G: a filter's polynomial at every point, divided by what the rows of B^T leave in. Finite points in the
/// order of winograd_points.h, then infinity.
std::array<Row, kWinogradPoints> filter_transform(WinogradForm form) {
  const std::array<double, kWinogradPoints - 1> finite{0, kWinogradPairs[0], -kWinogradPairs[0],
                                                       kWinogradPairs[1], -kWinogradPairs[1]};
  std::array<Row, kWinogradPoints> g{};
  for (size_t i = 0; i < finite.size(); ++i) {
    double value = 1;
    for (size_t j = 0; j < finite.size(); ++j) value /= j == i ? 1 : finite[i] - finite[j];
    for (int tap = 0; tap < form.taps; ++tap, value *= finite[i]) g[i][static_cast<size_t>(tap)] = value;
  }
  g[finite.size()][static_cast<size_t>(form.taps - 1)] = 1;
  return g;
}

/// G filter G^T, [points][points].
void transform_filter(const std::array<Row, kWinogradPoints>& g, WinogradForm form, const float* filter,
                      double* points) {
  const int n = kWinogradPoints, taps = form.taps;
  for (int i = 0; i < n; ++i) {
    Row half{};  // row i of G filter
    for (int y = 0; y < taps; ++y) {
      for (int x = 0; x < taps; ++x)
        half[static_cast<size_t>(x)] +=
            g[static_cast<size_t>(i)][static_cast<size_t>(y)] * static_cast<double>(filter[y * taps + x]);
    }
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (size_t x = 0; x < static_cast<size_t>(taps); ++x) sum += half[x] * g[static_cast<size_t>(j)][x];
      points[i * n + j] = sum;
    }
  }
}

}  // namespace

DeviceMemory pack_winograd_weights(const ConvOp& op, WinogradForm form, const Layout& dst) {
  const int64_t inputs = op.weight->dim(1), block = dst.block, filter_size = int64_t{form.taps} * form.taps;
  const int64_t floats = kSquares * inputs * dst.padded_channels();
  DeviceMemory packed = allocate_host(floats * static_cast<int64_t>(sizeof(float)), "packed weights");
  auto* data = static_cast<float*>(packed.data());
  std::fill(data, data + floats, 0.0F);
  const std::array<Row, kWinogradPoints> g = filter_transform(form);
  const WinogradPanels panels{dst.blocks()};
  parallel_for(panels.count(), [&](int64_t panel) {
    const int64_t first = panels.begin(panel) * block, width = panels.width(panel) * block;
    float* to = data + kSquares * inputs * first;
    std::array<double, kSquares> u{};
    for (int64_t output = first; output < std::min(first + width, dst.c); ++output) {
      for (int64_t input = 0; input < inputs; ++input) {
        transform_filter(g, form, op.weight->data() + (output * inputs + input) * filter_size, u.data());
        for (int64_t point = 0; point < kSquares; ++point) {
          to[(point * inputs + input) * width + output - first] =
              static_cast<float>(u[static_cast<size_t>(point)]);
        }
      }
    }
  });
  return packed;
}

}  // namespace branchsae::cpu
