#include "cuda/network/cudnn_api.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/error.h"

namespace branchsae::cuda {
namespace {

constexpr size_t kOldest = 90800;  // the first that plans for described devices
constexpr const char* kFile = "libcudnn.so.9";

/// The loader's search path first, then where the headers of this build came from.
void* open_library() {
  if (void* found = dlopen(kFile, RTLD_NOW | RTLD_LOCAL)) return found;
  const std::string why = dlerror();
  const std::string beside_headers = std::string(BRANCHSAE_CUDNN_FOLDER) + "/" + kFile;
  if (void* found = dlopen(beside_headers.c_str(), RTLD_NOW | RTLD_LOCAL)) return found;
  throw DeviceError(fmt::format(
      "cuDNN cannot be loaded ({}); install cuDNN 9.8 or newer for CUDA {}, or put its folder into "
      "LD_LIBRARY_PATH",
      why, CUDART_VERSION / 1000));
}

template <class Function>
void load(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) throw DeviceError(fmt::format("{} has no function {}", kFile, name));
}

CudnnApi load_api() {
  void* library = open_library();
  CudnnApi api;
  load(library, "cudnnGetVersion", api.get_version);
  load(library, "cudnnGetErrorString", api.error_string);
  load(library, "cudnnGetLastErrorString", api.last_error_string);
  load(library, "cudnnCreate", api.create);
  load(library, "cudnnDestroy", api.destroy);
  load(library, "cudnnSetStream", api.set_stream);
  load(library, "cudnnBackendCreateDescriptor", api.create_descriptor);
  load(library, "cudnnBackendDestroyDescriptor", api.destroy_descriptor);
  load(library, "cudnnBackendSetAttribute", api.set_attribute);
  load(library, "cudnnBackendGetAttribute", api.get_attribute);
  load(library, "cudnnBackendFinalize", api.finalize);
  load(library, "cudnnBackendExecute", api.execute);
  if (api.get_version() < kOldest) {
    throw DeviceError(fmt::format("cuDNN {} is too old; 9.8 or newer is needed", api.version_text()));
  }
  return api;
}

}  // namespace

std::string CudnnApi::version_text() const {
  const size_t version = get_version();
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

const CudnnApi& cudnn() {
  static const CudnnApi api = load_api();  // tried again at the next call when it throws
  return api;
}

std::string cudnn_reason(cudnnStatus_t status) {
  std::array<char, 512> text{};
  cudnn().last_error_string(text.data(), text.size());
  std::string message(text.data());
  std::ranges::replace(message, '\n', ' ');
  const char* name = cudnn().error_string(status);
  return message.empty() ? std::string(name) : fmt::format("{} ({})", name, message);
}

void check_cudnn(cudnnStatus_t status, std::string_view doing, std::source_location place) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw DeviceError(
      fmt::format("{}: cuDNN: {}", doing, cudnn_reason(status)),
      fmt::format("cuDNN {} at {}:{}", cudnn().version_text(), place.file_name(), place.line()));
}

}  // namespace branchsae::cuda
