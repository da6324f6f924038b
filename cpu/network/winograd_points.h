#pragma once
/// Interpolation points of the Winograd (Cook-Toom) convolutions F(m, r).
///
/// m outputs of a filter of r taps are the values of a product of polynomials, known at n = m + r - 1 points:
/// y = A^T [(G g) * (B^T d)], in two dimensions on both sides. The points here are 0, pairs +-p, and
/// infinity, in this order; pairs let rows of the transforms share their even and odd halves.
/// Source  Lavin and Gray 2015, arXiv:1509.09308; Toom 1963, Cook 1966.
///
/// Which pairs: those of the smallest error of all multiples of 1/8 up to 9/4, measured with positive and
/// with normal inputs. Lavin and Gray's 1 and 2 give twice the error of 5/8 and 3/2. All products that the
/// transforms need are exact in float32.
#include <array>

namespace branchsae::cpu {

/// F(outputs, taps): a tile of outputs x outputs from points x points products.
struct WinogradForm {
  int outputs = 0, taps = 0;
  constexpr int points() const { return outputs + taps - 1; }
  bool operator==(const WinogradForm&) const = default;
};

struct WinogradPoints {
  bool zero = false;
  int pairs = 0;
  std::array<double, 3> pair{};
};

/// Of the n = points; 6, 7 or 8.
constexpr WinogradPoints winograd_points(int points) {
  switch (points) {
    case 6:
      return {true, 2, {0.625, 1.5}};
    case 7:
      return {false, 3, {0.25, 0.75, 1.75}};
    default:
      return {true, 3, {0.5, 1.0, 2.0}};
  }
}

}  // namespace branchsae::cpu
