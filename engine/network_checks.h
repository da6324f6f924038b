#pragma once
/// What every backend checks before it compiles and runs a network.
#include <array>
#include <string>
#include <vector>

#include "engine/network.h"

namespace branchsae {

/// Values that some tap shows, ascending, each once.
std::vector<ValueId> tapped_values(const std::vector<Tap>& taps);

/// Throws InputError: no taps, a tap without parts or with a value that is none, sizes that are not positive.
void check_network_options(const Graph& graph, const NetworkOptions& options);

/// One tap's rows: d numbers at each of height x width positions.
struct TapShape {
  int64_t height = 1, width = 1, d = 0;
  bool has_grid = false;
};

/// shapes  from infer_shapes(). Throws ShapeError when a part's channels do not exist or grids differ.
TapShape tap_shape(const Graph& graph, const std::vector<Shape>& shapes, const Tap& tap);

/// images [N, H, W, C] as given to run(); `input` is the compiled network's [N, C, H, W] or [N, C]. Throws
/// ShapeError unless 1 <= N <= max_batch and the rest agrees.
void check_images(const std::array<int64_t, 4>& images, int64_t max_batch, const Shape& input);

/// "f32", "tf32", "f16", "bf16", "auto".
std::string to_string(NetworkPrecision precision);

/// "auto", "direct".
std::string to_string(ConvAlgorithm conv);
/// Throws InputError for another word.
ConvAlgorithm parse_conv_algorithm(std::string_view text);

}  // namespace branchsae
