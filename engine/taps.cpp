#include "engine/taps.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/error.h"
#include "engine/spelling.h"

namespace branchsae {
namespace {

constexpr std::string_view kPreSuffix = ":pre";

std::vector<std::string> all_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Block& block : graph.blocks) {
    names.push_back(block.name);
    for (const Branch& branch : block.branches) names.push_back(block.name + "." + branch.name);
  }
  for (const Node& node : graph.nodes) names.push_back(graph.value(node.output).name);
  return names;
}

[[noreturn]] void fail_unknown(const Graph& graph, std::string_view name) {
  const std::vector<std::string> nearest = nearest_names(all_names(graph), name, 5);
  throw InputError(fmt::format("no tap is called '{}' in {}; the nearest names are {}", name, graph.source,
                               fmt::join(nearest, ", ")));
}

int64_t channels_of(const Graph& graph, ValueId id) {
  const Shape& shape = graph.value(id).shape;
  if (shape.size() < 2 || shape[1] < 1) {
    throw InputError(fmt::format("tensor '{}' of shape {} has no channels to tap", graph.value(id).name,
                                 to_string(shape)));
  }
  return shape[1];
}

/// The value before a ReLU; kNoValue when `id` is not a ReLU's output.
ValueId before_relu(const Graph& graph, ValueId id) {
  const int producer = graph.producer(id);
  if (producer < 0) return kNoValue;
  const Node& node = graph.nodes[static_cast<size_t>(producer)];
  return std::holds_alternative<ReluOp>(node.op) ? node.inputs.at(0) : kNoValue;
}

[[noreturn]] void fail_pre(std::string_view name) {
  throw InputError(
      fmt::format("tap '{}:pre' does not exist: no ReLU comes last in '{}'; leave out :pre", name, name));
}

std::vector<TapPart> value_parts(const Graph& graph, ValueId id, bool pre, std::string_view name) {
  if (pre) id = before_relu(graph, id);
  if (id == kNoValue) fail_pre(name);
  return {{id, 0, channels_of(graph, id)}};
}

std::vector<TapPart> branch_parts(const Block& block, const Branch& branch, bool pre, std::string_view name) {
  if (!pre) return {{block.value, branch.begin, branch.end}};
  if (branch.pre_value == kNoValue) fail_pre(name);
  // One ReLU after the concat: before it the branches lie side by side already.
  if (branch.value == block.value) return {{branch.pre_value, branch.begin, branch.end}};
  return {{branch.pre_value, 0, branch.end - branch.begin}};
}

std::vector<TapPart> block_parts(const Block& block, bool pre, std::string_view name) {
  if (!pre) return {{block.value, 0, block.branches.back().end}};
  std::vector<TapPart> parts;
  for (const Branch& branch : block.branches) {
    const std::vector<TapPart> more = branch_parts(block, branch, true, name);
    parts.insert(parts.end(), more.begin(), more.end());
  }
  return parts;
}

const Block* find_block(const Graph& graph, std::string_view name) {
  const auto found = std::ranges::find(graph.blocks, name, &Block::name);
  return found == graph.blocks.end() ? nullptr : &*found;
}

/// One name without + or .., with or without :pre.
std::vector<TapPart> single_parts(const Graph& graph, std::string_view text) {
  if (const ValueId id = graph.find_value(text); id != kNoValue) return value_parts(graph, id, false, text);
  const bool pre = text.ends_with(kPreSuffix);
  const std::string_view name = pre ? text.substr(0, text.size() - kPreSuffix.size()) : text;
  if (const ValueId id = graph.find_value(name); id != kNoValue) return value_parts(graph, id, pre, name);
  if (const Block* block = find_block(graph, name)) return block_parts(*block, pre, name);
  if (const size_t dot = name.rfind('.'); dot != std::string_view::npos) {
    if (const Block* block = find_block(graph, name.substr(0, dot))) {
      const auto branch = std::ranges::find(block->branches, name.substr(dot + 1), &Branch::name);
      if (branch != block->branches.end()) return branch_parts(*block, *branch, pre, name);
    }
  }
  fail_unknown(graph, name);
}

/// "first..last", layers in the network's order.
std::vector<TapPart> range_parts(const Graph& graph, std::string_view first, std::string_view last) {
  const bool pre = last.ends_with(kPreSuffix);
  if (pre) last.remove_suffix(kPreSuffix.size());
  const Block* begin = find_block(graph, first);
  const Block* end = find_block(graph, last);
  if (begin == nullptr) fail_unknown(graph, first);
  if (end == nullptr) fail_unknown(graph, last);
  if (begin > end)
    throw InputError(fmt::format("tap range '{}..{}' runs backwards; swap the two", first, last));
  std::vector<TapPart> parts;
  for (const Block* block = begin; block <= end; ++block) {
    const std::vector<TapPart> more = block_parts(*block, pre, block->name);
    parts.insert(parts.end(), more.begin(), more.end());
  }
  return parts;
}

std::vector<TapPart> term_parts(const Graph& graph, std::string_view term) {
  if (graph.find_value(term) == kNoValue) {
    if (const size_t dots = term.find(".."); dots != std::string_view::npos) {
      return range_parts(graph, term.substr(0, dots), term.substr(dots + 2));
    }
  }
  return single_parts(graph, term);
}

}  // namespace

int64_t Tap::width() const {
  int64_t width = 0;
  for (const TapPart& part : parts) width += part.end - part.begin;
  return width;
}

Tap resolve_tap(const Graph& graph, std::string_view text) {
  if (text.empty()) throw InputError("an empty tap name was given; name one such as mixed4c.5x5");
  Tap tap;
  tap.name = text;
  if (graph.find_value(text) != kNoValue) {  // an exact ONNX name wins, whatever characters it has
    tap.parts = single_parts(graph, text);
    return tap;
  }
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('+', begin), text.size());
    const std::vector<TapPart> more = term_parts(graph, text.substr(begin, end - begin));
    tap.parts.insert(tap.parts.end(), more.begin(), more.end());
    begin = end + 1;
  }
  return tap;
}

std::pair<std::string, std::optional<int64_t>> split_tap_index(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return {std::string(text), std::nullopt};
  const std::string_view digits = text.substr(colon + 1);
  const bool all_digits = std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  if (!all_digits || digits.size() > 18) return {std::string(text), std::nullopt};
  return {std::string(text.substr(0, colon)), std::stoll(std::string(digits))};
}

std::string tap_file_name(std::string_view tap) {
  std::string name(tap);
  for (char& c : name) {
    const bool kept = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '+' || c == '-';
    if (!kept) c = '.';
  }
  return name;
}

void check_tap_file_names(const std::vector<Tap>& taps) {
  std::map<std::string, std::string> owner;
  for (const Tap& tap : taps) {
    const auto [entry, is_new] = owner.emplace(tap_file_name(tap.name), tap.name);
    if (is_new) continue;
    throw InputError(fmt::format("taps '{}' and '{}' would share the folder name '{}'; leave one out",
                                 entry->second, tap.name, entry->first));
  }
}

}  // namespace branchsae
