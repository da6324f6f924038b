#pragma once
/// TensorProto to Constant: embedded in any of its fields, or in an external data file.
#include <onnx/onnx_pb.h>

#include <filesystem>
#include <string>

#include "loader/onnx_constant.h"

namespace branchsae::loader {

/// Checks sizes, types and external data's place without reading or allocating anything.
/// `where` opens error messages ("model.onnx: initialiser 'w'"); external data must lie inside `folder`.
/// Throws InputError: other bytes than the shape needs, an element type that is not a number, external data
/// that is missing, outside the folder or too short.
void check_tensor(const ::onnx::TensorProto& proto, const std::filesystem::path& folder,
                  const std::string& where);

/// Reads float16, bfloat16, float and double as float32; bool and integers of any width as integers.
/// Checks first.
Constant read_tensor(const ::onnx::TensorProto& proto, const std::filesystem::path& folder,
                     const std::string& where, MemoryBudget& budget);

}  // namespace branchsae::loader
