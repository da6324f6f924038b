#pragma once
/// An ONNX file's bytes to its protobuf message.
#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace branchsae::loader {

struct OnnxFile {
  ::onnx::ModelProto model;
  std::filesystem::path path;
  std::string sha256;
  int64_t opset = 0;  ///< version of the default operator domain
};

/// Reads and parses; checks that there is a graph with nodes and an operator set this loader knows.
/// Throws InputError: missing, not a regular file, larger than max_bytes, not ONNX, cut short.
OnnxFile read_onnx_file(const std::filesystem::path& path, int64_t max_bytes);

}  // namespace branchsae::loader
