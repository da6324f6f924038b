#pragma once
/// Interpolation points of the Winograd (Cook-Toom) convolutions F(m, r).
///
/// m outputs of a filter of r taps are the values of a product of polynomials, known at n = m + r - 1 points:
/// y = A^T [(G g) * (B^T d)], in two dimensions on both sides. The points here are 0, pairs +-p, and
/// infinity, in this order; pairs let rows of the transforms share their even and odd halves.
/// Source  Lavin and Gray 2015, arXiv:1509.09308; Toom 1963, Cook 1966.
///
/// Six points serve 3x3 filters as F(4,3) and 5x5 filters as F(2,5). The pairs are those of the smallest
/// error among multiples of 1/8, for positive inputs: 1 and 2 of Lavin and Gray have about twice that of 5/8
/// and 3/2. All products that the transforms need are exact in float32. Seven points were tried: F(5,3) on
/// 14x14 grids saves 3 to 7 % from four images on but errs above 1e-5 of the outputs' rms, and F(3,5) is
/// slower, since its transforms outweigh the few input channels that 5x5 filters have.
#include <array>

namespace branchsae::cpu {

constexpr int kWinogradPoints = 6;
constexpr std::array<double, 2> kWinogradPairs{0.625, 1.5};

/// F(outputs, taps): a tile of outputs x outputs, from kWinogradPoints squared products.
struct WinogradForm {
  int outputs = 0, taps = 0;
  bool operator==(const WinogradForm&) const = default;
};

}  // namespace branchsae::cpu
