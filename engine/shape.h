#pragma once
/// Sizes and the letters used for them throughout:
///   N C H W  images: batch, channels, height, width
///   B d      tokens of one batch and their width; a token is one position's activation vector
///   n k      latents of a sparse autoencoder and how many of them are kept per token
/// All sizes and offsets are int64_t: 50,000 images x 28 x 28 x 256 exceeds 10^10.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace branchsae {

/// Dimensions, outermost first. -1 is a dimension known only at run time.
using Shape = std::vector<int64_t>;

inline constexpr int64_t kDynamic = -1;

/// "[2, 3, ?, ?]"
std::string to_string(std::span<const int64_t> shape);

/// Product of the dimensions. Throws ShapeError on a negative dimension or when it exceeds 2^62.
int64_t element_count(std::span<const int64_t> shape);

}  // namespace branchsae
