#pragma once
/// safetensors files: 8-byte little-endian header length, JSON header, raw data.
/// Source: github.com/huggingface/safetensors, format section. Tensors are written in name order, so equal
/// contents give equal bytes.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/host_tensor.h"

namespace branchsae {

struct SafeTensor {
  std::string dtype;  ///< "F32", "I64", "I32", "U8", "BF16"
  Shape shape;
  std::vector<char> bytes;

  static SafeTensor from(const HostTensor& tensor);
  static SafeTensor from(const std::vector<int64_t>& values);
  HostTensor to_host_tensor(const std::string& name) const;      ///< throws InputError unless F32
  std::vector<int64_t> to_int64(const std::string& name) const;  ///< throws InputError unless I64
};

struct SafeTensors {
  std::map<std::string, SafeTensor> tensors;
  std::map<std::string, std::string> metadata;
  /// Throws InputError naming the tensors there are.
  const SafeTensor& at(const std::string& name) const;
};

/// Crash-safe; throws IoError.
void write_safetensors(const std::filesystem::path& path, const SafeTensors& contents);
/// Throws InputError: truncated, header too long, offsets that overlap or leave the file, dtype and shape
/// that disagree.
SafeTensors read_safetensors(const std::filesystem::path& path);

}  // namespace branchsae
