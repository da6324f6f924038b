#include "model/inception.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <regex>
#include <set>
#include <string_view>

namespace branchsae {

namespace {

constexpr size_t kFewestPaths = 3;
constexpr int kFewestConvolutions = 2;
/// InceptionV1's longest path has 5 nodes, with batch normalisation and pads 8; longer chains are no branch.
constexpr size_t kLongestPath = 64;

/// Producers and reader counts, looked up once: Graph's own functions search.
struct GraphIndex {
  explicit GraphIndex(const Graph& g) : graph(g), producer(g.values.size(), -1), readers(g.values.size()) {
    for (size_t i = 0; i < g.nodes.size(); ++i) {
      producer[static_cast<size_t>(g.nodes[i].output)] = static_cast<int>(i);
      for (const ValueId id : g.nodes[i].inputs)
        readers[static_cast<size_t>(id)].push_back(static_cast<int>(i));
    }
  }
  /// nullptr for the graph's input.
  const Node* writer(ValueId id) const {
    const int index = producer[static_cast<size_t>(id)];
    return index < 0 ? nullptr : &graph.nodes[static_cast<size_t>(index)];
  }

  const Graph& graph;
  std::vector<int> producer;
  std::vector<std::vector<int>> readers;
};

bool is_path_op(const Op& op) {
  return std::holds_alternative<ConvOp>(op) || std::holds_alternative<ReluOp>(op) ||
         std::holds_alternative<MaxPoolOp>(op) || std::holds_alternative<AveragePoolOp>(op) ||
         std::holds_alternative<LrnOp>(op) || std::holds_alternative<PadOp>(op) ||
         std::holds_alternative<AffineOp>(op) || std::holds_alternative<ClipOp>(op);
}

/// Values from `end` back along a chain of path ops, `end` first, the value where the chain starts last.
std::vector<ValueId> chain_back(const GraphIndex& index, ValueId end) {
  std::vector<ValueId> chain{end};
  while (chain.size() <= kLongestPath) {
    const Node* node = index.writer(chain.back());
    if (node == nullptr || node->inputs.size() != 1 || !is_path_op(node->op)) break;
    chain.push_back(node->inputs[0]);
  }
  return chain;
}

/// The value nearest to the concat that lies on every chain; kNoValue when there is none.
ValueId common_fork(const std::vector<std::vector<ValueId>>& chains) {
  std::set<ValueId> common(chains[0].begin(), chains[0].end());
  for (const std::vector<ValueId>& chain : chains) {
    std::set<ValueId> both;
    for (const ValueId id : chain) {
      if (common.contains(id)) both.insert(id);
    }
    common = std::move(both);
  }
  for (const ValueId id : chains[0]) {
    if (common.contains(id)) return id;
  }
  return kNoValue;
}

// ---- one path

std::string size_text(const std::array<int64_t, 2>& size) {
  return fmt::format("{}x{}", size[0], size[1]);
}

struct PathSummary {
  std::string pool;                          ///< "max 3x3"; empty without a pool
  std::array<int64_t, 2> convolution{0, 0};  ///< the largest kernel
  int convolutions = 0;

  std::string kernel_text() const {
    if (convolutions == 0) return pool.empty() ? "none" : pool;
    return pool.empty() ? size_text(convolution) : pool + " + " + size_text(convolution);
  }
};

/// `chain` without the fork.
PathSummary summarise(const GraphIndex& index, const std::vector<ValueId>& chain) {
  PathSummary summary;
  for (const ValueId id : chain) {
    const Op& op = index.writer(id)->op;
    if (const auto* conv = std::get_if<ConvOp>(&op)) {
      const auto area = [](const std::array<int64_t, 2>& size) { return size[0] * size[1]; };
      ++summary.convolutions;
      if (area(conv->window.kernel) > area(summary.convolution)) summary.convolution = conv->window.kernel;
    } else if (const auto* max = std::get_if<MaxPoolOp>(&op)) {
      summary.pool = "max " + size_text(max->window.kernel);
    } else if (const auto* average = std::get_if<AveragePoolOp>(&op)) {
      summary.pool = "avg " + size_text(average->window.kernel);
    }
  }
  return summary;
}

std::string branch_name(size_t place, size_t count) {
  constexpr std::array<const char*, 4> kByPlace{"1x1", "3x3", "5x5", "pool"};
  return count == kByPlace.size() ? kByPlace[place] : fmt::format("branch{}", place + 1);
}

// ---- one block

/// The ReLU that alone reads `id`; kNoValue when there is none.
ValueId relu_after(const GraphIndex& index, ValueId id) {
  const std::vector<int>& readers = index.readers[static_cast<size_t>(id)];
  if (readers.size() != 1) return kNoValue;
  const Node& node = index.graph.nodes[static_cast<size_t>(readers[0])];
  return std::holds_alternative<ReluOp>(node.op) ? node.output : kNoValue;
}

ValueId before_relu(const GraphIndex& index, ValueId id) {
  const Node* node = index.writer(id);
  return node != nullptr && std::holds_alternative<ReluOp>(node->op) ? node->inputs[0] : kNoValue;
}

/// Paths of a block, without the fork; empty when the concat is no block.
std::vector<std::vector<ValueId>> block_paths(const GraphIndex& index, const Node& concat) {
  if (!std::holds_alternative<ConcatOp>(concat.op) || concat.inputs.size() < kFewestPaths) return {};
  std::vector<std::vector<ValueId>> chains;
  for (const ValueId input : concat.inputs) chains.push_back(chain_back(index, input));
  const ValueId fork = common_fork(chains);
  if (fork == kNoValue) return {};
  int with_convolution = 0;
  for (std::vector<ValueId>& chain : chains) {
    chain.erase(std::ranges::find(chain, fork), chain.end());
    if (chain.empty()) return {};
    if (summarise(index, chain).convolutions > 0) ++with_convolution;
  }
  return with_convolution >= kFewestConvolutions ? chains : std::vector<std::vector<ValueId>>{};
}

Block make_block(const GraphIndex& index, const Node& concat,
                 const std::vector<std::vector<ValueId>>& paths) {
  Block block;
  const ValueId relu = relu_after(index, concat.output);
  block.value = relu == kNoValue ? concat.output : relu;
  int64_t begin = 0;
  for (size_t i = 0; i < paths.size(); ++i) {
    Branch branch;
    const ValueId end = concat.inputs[i];
    branch.name = branch_name(i, paths.size());
    branch.begin = begin;
    branch.end = begin = begin + index.graph.value(end).shape.at(1);
    branch.kernel = summarise(index, paths[i]).kernel_text();
    branch.value = relu == kNoValue ? end : relu;
    branch.pre_value = relu == kNoValue ? before_relu(index, end) : concat.output;
    block.branches.push_back(std::move(branch));
  }
  return block;
}

// ---- names

/// "4c" from inception_4c/output, /inception4c/Concat, mixed4c, Mixed_4c ...; empty when there is none.
std::string layer_number(const std::string& name) {
  static const std::regex pattern("(?:inception|mixed)[_ ./-]?([1-9][a-z])(?![a-z0-9])",
                                  std::regex::icase | std::regex::optimize);
  constexpr size_t kLongest = 256;  // std::regex recurses over its subject
  std::smatch match;
  const std::string head = name.substr(0, kLongest);
  if (!std::regex_search(head, match, pattern)) return "";
  std::string number = match[1];
  number[1] = static_cast<char>(std::tolower(static_cast<unsigned char>(number[1])));
  return number;
}

/// The number in the block's own names, else the one that all its paths' names agree on.
std::string number_of_block(const GraphIndex& index, const Node& concat,
                            const std::vector<std::vector<ValueId>>& paths) {
  for (const std::string& name : {index.graph.value(concat.output).name, concat.name}) {
    if (std::string number = layer_number(name); !number.empty()) return number;
  }
  std::set<std::string> numbers;
  for (const std::vector<ValueId>& path : paths) {
    for (const ValueId id : path) {
      numbers.insert(layer_number(index.graph.value(id).name));
      numbers.insert(layer_number(index.writer(id)->name));
    }
  }
  numbers.erase("");
  return numbers.size() == 1 ? *numbers.begin() : "";
}

void name_blocks(std::vector<Block>& blocks, const std::vector<std::string>& numbers) {
  constexpr std::array<const char*, 9> kInOrder{"3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"};
  const std::set<std::string> distinct(numbers.begin(), numbers.end());
  const bool all_numbered = distinct.size() == numbers.size() && !distinct.contains("");
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (all_numbered) {
      blocks[i].name = "mixed" + numbers[i];
    } else if (blocks.size() == kInOrder.size()) {
      blocks[i].name = std::string("mixed") + kInOrder[i];
    } else {
      blocks[i].name = fmt::format("block{}", i + 1);
    }
  }
}

}  // namespace

void recognise_blocks(Graph& graph) {
  const GraphIndex index(graph);
  std::vector<Block> blocks;
  std::vector<std::string> numbers;
  for (const Node& node : graph.nodes) {
    const auto paths = block_paths(index, node);
    if (paths.empty()) continue;
    blocks.push_back(make_block(index, node, paths));
    numbers.push_back(number_of_block(index, node, paths));
  }
  name_blocks(blocks, numbers);
  graph.blocks = std::move(blocks);
}

}  // namespace branchsae
