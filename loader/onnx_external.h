#pragma once
/// Tensors whose bytes lie in a file beside the model.
#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace branchsae::loader {

/// A byte range of a file that was found to lie inside the model's folder.
struct ExternalRange {
  std::filesystem::path path;
  int64_t offset = 0;
  int64_t length = 0;
};

/// Where a tensor's `needed` bytes are. Throws InputError, opened by `where`: no location; an absolute path,
/// "..", or a link that leads out of `folder`; a missing or irregular file; offset and length that are not
/// numbers, do not fit the file, or give another length than needed.
ExternalRange external_range(const ::onnx::TensorProto& proto, const std::filesystem::path& folder,
                             int64_t needed, const std::string& where);

/// Throws InputError when the file ends early.
std::string read_range(const ExternalRange& range, const std::string& where);

}  // namespace branchsae::loader
