#pragma once
/// cuDNN's functions, loaded when they are first needed: programs start on machines without cuDNN.
#include <cudnn_graph.h>

#include <source_location>
#include <string>
#include <string_view>

namespace branchsae::cuda {

struct CudnnApi {
  decltype(&cudnnGetVersion) get_version = nullptr;
  decltype(&cudnnGetErrorString) error_string = nullptr;
  decltype(&cudnnGetLastErrorString) last_error_string = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnDestroy) destroy = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;

  std::string version_text() const;
};

/// Throws DeviceError when cuDNN cannot be loaded or is older than 9.8, saying what to install.
const CudnnApi& cudnn();

/// Throws DeviceError when `status` is an error: what was being done, cuDNN's reason and its last message.
void check_cudnn(cudnnStatus_t status, std::string_view doing,
                 std::source_location place = std::source_location::current());

/// cuDNN's words for a status, with its last message, in one line.
std::string cudnn_reason(cudnnStatus_t status);

}  // namespace branchsae::cuda
