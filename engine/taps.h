#pragma once
/// Taps: which activations are captured. Grammar (docs and --help show it too):
///   mixed4c.5x5            one branch            mixed4d        a whole layer, after the concat
///   mixed4a+mixed4b        joined on one grid    mixed4a..mixed4e   a range of layers, joined
///   inception_4c/5x5       a tensor's own ONNX name (an exact ONNX name wins)
///   TAP:pre                before ReLU           TAP:INDEX      one latent or channel
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph.h"

namespace branchsae {

/// Channels [begin, end) of one graph value.
struct TapPart {
  ValueId value = kNoValue;
  int64_t begin = 0, end = 0;
};

/// A resolved tap. Its d channels are the parts' channels, in order.
struct Tap {
  std::string name;  ///< as the user wrote it, without :INDEX
  std::vector<TapPart> parts;
  int64_t width() const;  ///< d
};

/// Resolves `text` against the graph as loaded (before fusion, so that :pre values still exist).
/// Throws InputError when nothing has that name (lists the nearest names), when :pre does not exist, or when
/// joined parts cannot share a grid.
Tap resolve_tap(const Graph& graph, std::string_view text);

/// Splits "TAP:INDEX". The index is the last ':' followed by digits only; without one it is unset.
std::pair<std::string, std::optional<int64_t>> split_tap_index(std::string_view text);

/// As a folder or file name: every character outside [A-Za-z0-9._+-] becomes '.'.
std::string tap_file_name(std::string_view tap);

/// Throws InputError when two of the taps would share a folder name.
void check_tap_file_names(const std::vector<Tap>& taps);

}  // namespace branchsae
