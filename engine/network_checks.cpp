#include "engine/network_checks.h"

#include <fmt/format.h>

#include <set>

#include "engine/error.h"

namespace branchsae {
namespace {

/// [H, W] of a value; 1 x 1 without a grid.
std::array<int64_t, 2> grid_of(const Shape& shape) {
  return shape.size() == 4 ? std::array<int64_t, 2>{shape[2], shape[3]} : std::array<int64_t, 2>{1, 1};
}

}  // namespace

std::vector<ValueId> tapped_values(const std::vector<Tap>& taps) {
  std::set<ValueId> values;
  for (const Tap& tap : taps) {
    for (const TapPart& part : tap.parts) values.insert(part.value);
  }
  return {values.begin(), values.end()};
}

void check_network_options(const Graph& graph, const NetworkOptions& options) {
  if (options.taps.empty()) throw InputError("no tap was asked for, so there is nothing to compute");
  if (options.max_batch < 1 || options.height < 1 || options.width < 1) {
    throw InputError(fmt::format("batch {} and image size {}x{} must be positive", options.max_batch,
                                 options.height, options.width));
  }
  for (const Tap& tap : options.taps) {
    if (tap.parts.empty()) throw InputError(fmt::format("tap '{}' has no parts", tap.name));
    for (const TapPart& part : tap.parts) {
      if (part.value < 0 || part.value >= static_cast<ValueId>(graph.values.size())) {
        throw InputError(fmt::format("tap '{}' names value {} of a graph with {}", tap.name, part.value,
                                     graph.values.size()));
      }
    }
  }
}

TapShape tap_shape(const Graph& graph, const std::vector<Shape>& shapes, const Tap& tap) {
  const auto shape_of = [&](const TapPart& part) { return shapes.at(static_cast<size_t>(part.value)); };
  const Shape first = shape_of(tap.parts.front());
  const auto [height, width] = grid_of(first);
  TapShape result{.height = height, .width = width, .d = 0, .has_grid = first.size() == 4};
  for (const TapPart& part : tap.parts) {
    const Shape shape = shape_of(part);
    const std::string& name = graph.value(part.value).name;
    const int64_t channels = shape.size() < 2 ? 0 : shape[1];
    if (part.begin < 0 || part.begin >= part.end || part.end > channels) {
      throw ShapeError(fmt::format("tap '{}': channels {}..{} of '{}' which has {}", tap.name, part.begin,
                                   part.end, name, channels));
    }
    if (const auto [h, w] = grid_of(shape); h != height || w != width) {
      throw ShapeError(fmt::format("tap '{}' joins '{}' on a {}x{} grid with '{}' on {}x{}", tap.name,
                                   graph.value(tap.parts.front().value).name, height, width, name, h, w));
    }
    result.d += part.end - part.begin;
  }
  return result;
}

void check_images(const std::array<int64_t, 4>& images, int64_t max_batch, const Shape& input) {
  const auto [height, width] = grid_of(input);
  const bool fits = images[1] == height && images[2] == width && images[3] == input.at(1);
  if (fits && images[0] >= 1 && images[0] <= max_batch) return;
  throw ShapeError(fmt::format("images {} do not fit the compiled network, which takes [1..{}, {}, {}, {}]",
                               to_string(images), max_batch, height, width, input.at(1)));
}

std::string to_string(NetworkPrecision precision) {
  switch (precision) {
    case NetworkPrecision::kAuto:
      return "auto";
    case NetworkPrecision::kF32:
      return "f32";
    case NetworkPrecision::kTf32:
      return "tf32";
    case NetworkPrecision::kF16:
      return "f16";
    case NetworkPrecision::kBf16:
      break;
  }
  return "bf16";
}

std::string to_string(ConvAlgorithm conv) {
  return conv == ConvAlgorithm::kDirect ? "direct" : "auto";
}

ConvAlgorithm parse_conv_algorithm(std::string_view text) {
  for (const ConvAlgorithm conv : {ConvAlgorithm::kAuto, ConvAlgorithm::kDirect}) {
    if (text == to_string(conv)) return conv;
  }
  throw InputError(fmt::format("must be auto or direct, not '{}'", text));
}

}  // namespace branchsae
