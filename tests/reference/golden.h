#pragma once
/// The sets of small models in tests/golden with their expected values (tests/golden/README.md).
#include <filesystem>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "tests/reference/network.h"

namespace branchsae::reference {

/// An expected value: a block's output, or a tensor by name.
struct GoldenOutput {
  std::string block, tensor;  ///< one of them is empty
  Array value;
  const std::string& name() const { return block.empty() ? tensor : block; }
  /// Throws InputError when the graph does not have it.
  ValueId find(const Graph& graph) const;
};

struct GoldenBranch {
  std::string name, kernel;
  int64_t begin = 0, end = 0;
};

struct GoldenBlock {
  std::string name;
  std::vector<GoldenBranch> branches;
};

struct GoldenSet {
  std::vector<std::filesystem::path> models;
  Array images;
  std::vector<GoldenOutput> outputs;
  std::vector<GoldenBlock> blocks;
};

/// "torchvision", "lucid" or "zoo". Throws when a file is missing or not as expected.
GoldenSet read_golden(const std::string& name);

/// A float32 .npy file.
Array read_array(const std::filesystem::path& path);

}  // namespace branchsae::reference
