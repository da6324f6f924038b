#pragma once
/// ONNX files to the engine's typed graph.
#include <cstdint>
#include <filesystem>
#include <string>

#include "engine/graph.h"

namespace branchsae {

struct LoadOptions {
  /// What parse_preprocess() takes ("caffe", "lucid", "torchvision", "MEAN,STD,ORDER,RANGE"); empty: chosen
  /// as loader/preprocess_choice.h says.
  std::string preprocess;
  /// Largest model file, in bytes. Protobuf itself ends at 2 GiB; larger models keep their weights in
  /// external data files.
  int64_t max_file_bytes = (int64_t{1} << 31) - 1;
  /// Upper bound on memory for weights and folded constants together, in bytes: a file of a few hundred bytes
  /// can ask for terabytes.
  int64_t max_constant_bytes = int64_t{1} << 31;
};

/// Reads an ONNX model (operator sets 6 and later of the default domain) and returns it as a Graph whose
/// values keep their ONNX names, with blocks recognised (model/inception.h), preprocessing chosen
/// (loader/preprocess_choice.h), source and sha256 filled in.
///
/// Shapes       the input is [N, C, H, W]; N is always dynamic, also where the file fixes it; H and W stay as
///              the file has them. An input declared [N, H, W, C] that the model transposes first becomes
///              [N, C, H, W].
/// Arithmetic   on shapes and constants is folded; batch normalisation and per-channel arithmetic become
///              AffineOp. Identity, Dropout, Cast and reshapes that change nothing are dropped, and their
///              outputs' names become aliases.
/// External     data files must lie in the model's own folder, also after following links.
///
/// Throws InputError (one line naming file, node, operator and shapes): not a regular file, not ONNX,
/// truncated, unsupported operator or attribute, cyclic graph, duplicate or missing names, weights with other
/// than their shape's bytes, shapes that do not fit, more memory than max_constant_bytes.
/// Source: the ONNX operator specification, onnx/docs/Operators.md and Changelog.md.
Graph load_onnx(const std::filesystem::path& path, const LoadOptions& options = {});

}  // namespace branchsae
