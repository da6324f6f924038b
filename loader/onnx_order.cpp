#include "loader/onnx_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <string_view>
#include <unordered_map>

#include "engine/error.h"
#include "loader/onnx_node.h"

namespace branchsae::loader {

namespace {

using ::onnx::GraphProto;
using ::onnx::NodeProto;

constexpr int kGiven = -1;  // written by no node: an input or initialiser

/// Names end up in JSON, which holds UTF-8 only.
bool is_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80       ? 1
                          : lead >> 5 == 6  ? 2
                          : lead >> 4 == 14 ? 3
                          : lead >> 3 == 30 ? 4
                                            : 0;
    if (length == 0 || i + length > text.size()) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7fU >> length);
    for (size_t k = 1; k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if (byte >> 6 != 2) return false;
      code = code << 6 | (byte & 0x3fU);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kLeast[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    i += length;
  }
  return true;
}

class NodeOrder {
 public:
  NodeOrder(const GraphProto& graph, const std::string& file) : graph_(graph), file_(file) {}

  std::vector<int> run() {
    collect_writers();
    collect_readers();
    std::vector<int> order = sort();
    if (static_cast<int>(order.size()) != graph_.node_size()) fail_cycle();
    return order;
  }

 private:
  std::string label(int node) const {
    const NodeProto& proto = graph_.node(node);
    const std::string& name =
        !proto.name().empty() || proto.output_size() == 0 ? proto.name() : proto.output(0);
    return fmt::format("'{}' ({})", printable(name), printable(proto.op_type()));
  }

  void check_name(const std::string& name) const {
    if (is_utf8(name)) return;
    throw InputError(
        fmt::format("{}: the name '{}' is not UTF-8; the file is damaged", file_, printable(name)));
  }

  void collect_writers() {
    for (const auto& tensor : graph_.initializer()) add_writer(tensor.name(), kGiven);
    for (const auto& input : graph_.input()) {
      check_name(input.name());
      if (!inputs_.emplace(input.name(), kGiven).second) {
        throw InputError(fmt::format("{}: two graph inputs are called '{}'", file_, printable(input.name())));
      }
      writer_.emplace(input.name(), kGiven);  // before IR version 4 initialisers are listed here, too
    }
    for (int i = 0; i < graph_.node_size(); ++i) {
      check_name(graph_.node(i).name());
      if (graph_.node(i).output_size() == 0) {
        throw InputError(fmt::format("{}: node {} has no output", file_, label(i)));
      }
      for (const std::string& output : graph_.node(i).output()) {
        if (!output.empty()) add_writer(output, i);
      }
    }
  }

  void add_writer(const std::string& name, int node) {
    check_name(name);
    const auto [entry, is_new] = writer_.emplace(name, node);
    if (is_new) return;
    const auto by = [&](int writer) {
      return writer == kGiven ? "an input or initialiser" : "node " + label(writer);
    };
    throw InputError(fmt::format("{}: tensor '{}' is written twice: by {} and by {}", file_, printable(name),
                                 by(entry->second), by(node)));
  }

  void collect_readers() {
    const auto count = static_cast<size_t>(graph_.node_size());
    needs_.resize(count);
    readers_.resize(count);
    waits_.resize(count);
    for (int i = 0; i < graph_.node_size(); ++i) {
      for (const std::string& input : graph_.node(i).input()) {
        if (input.empty()) continue;
        if (!writer_.contains(input)) {
          throw InputError(fmt::format("{}: node {} reads '{}', which nothing in the file writes", file_,
                                       label(i), printable(input)));
        }
        add_need(i, input);
      }
      add_inner_needs(i, graph_.node(i));
    }
  }

  void add_need(int node, const std::string& tensor) {
    const auto writer = writer_.find(tensor);
    if (writer == writer_.end() || writer->second == kGiven) return;
    needs_[static_cast<size_t>(node)].push_back(writer->second);
    readers_[static_cast<size_t>(writer->second)].push_back(node);
    ++waits_[static_cast<size_t>(node)];
  }

  /// Graphs inside a node (the branches of If) may read tensors of this one. Protobuf bounds their depth.
  void add_inner_needs(int node, const NodeProto& proto) {
    for (const auto& attribute : proto.attribute()) {
      for (const NodeProto& inner : attribute.g().node()) {
        for (const std::string& input : inner.input()) add_need(node, input);
        add_inner_needs(node, inner);
      }
      for (const auto& output : attribute.g().output()) add_need(node, output.name());
    }
  }

  /// Kahn's algorithm; the lowest index that is ready comes next, so a sorted file keeps its order.
  std::vector<int> sort() {
    std::priority_queue<int, std::vector<int>, std::greater<>> ready;
    for (int i = 0; i < graph_.node_size(); ++i) {
      if (waits_[static_cast<size_t>(i)] == 0) ready.push(i);
    }
    std::vector<int> order;
    while (!ready.empty()) {
      const int node = ready.top();
      ready.pop();
      order.push_back(node);
      for (const int reader : readers_[static_cast<size_t>(node)]) {
        if (--waits_[static_cast<size_t>(reader)] == 0) ready.push(reader);
      }
    }
    return order;
  }

  /// Some node that `node` waits for and that is not in order either.
  int blocker(int node) const {
    for (const int writer : needs_[static_cast<size_t>(node)]) {
      if (waits_[static_cast<size_t>(writer)] > 0) return writer;
    }
    return node;
  }

  [[noreturn]] void fail_cycle() const {
    int node = 0;
    while (waits_[static_cast<size_t>(node)] == 0) ++node;
    // Walking back over waiting nodes must meet one twice; what lies between is a cycle.
    std::vector<int> path;
    std::vector<int64_t> place(waits_.size(), -1);
    while (place[static_cast<size_t>(node)] < 0) {
      place[static_cast<size_t>(node)] = static_cast<int64_t>(path.size());
      path.push_back(node);
      node = blocker(node);
    }
    const auto begin = static_cast<size_t>(place[static_cast<size_t>(node)]);
    constexpr size_t kShown = 6;
    const size_t length = path.size() - begin;
    std::string text;
    for (size_t i = 0; i < std::min(length, kShown); ++i) text += label(path[begin + i]) + " <- ";
    throw InputError(fmt::format("{}: the graph has a cycle of {} nodes: {}{}; a network to be run has none",
                                 file_, length, text, length > kShown ? "..." : label(node)));
  }

  const GraphProto& graph_;
  const std::string& file_;
  std::unordered_map<std::string_view, int> inputs_;
  std::unordered_map<std::string_view, int> writer_;
  std::vector<std::vector<int>> needs_, readers_;
  std::vector<int> waits_;
};

}  // namespace

std::vector<int> node_order(const GraphProto& graph, const std::string& file) {
  return NodeOrder(graph, file).run();
}

}  // namespace branchsae::loader
