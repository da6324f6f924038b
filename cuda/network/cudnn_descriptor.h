#pragma once
/// Owners of cuDNN's backend descriptors and handles.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cuda/network/cudnn_api.h"

namespace branchsae::cuda {

/// One backend descriptor: attributes are set, then it is finalised, then it may be read.
class CudnnDescriptor {
 public:
  CudnnDescriptor() = default;
  /// what  names it in errors: "a tensor"
  CudnnDescriptor(cudnnBackendDescriptorType_t type, std::string what);
  ~CudnnDescriptor();
  CudnnDescriptor(CudnnDescriptor&& other) noexcept { swap(other); }
  CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
    swap(other);
    return *this;
  }

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T value) {
    set(name, type, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, std::span<const int64_t> values) {
    set(name, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
  }
  void set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.handle_);
  }
  void set(cudnnBackendAttributeName_t name, std::span<const CudnnDescriptor* const> values);

  /// finalize() throws DeviceError, try_finalize() leaves the judgement to the caller.
  void finalize() { check_cudnn(try_finalize(), "finalise " + what_); }
  cudnnStatus_t try_finalize() { return cudnn().finalize(handle_); }

  int64_t int64(cudnnBackendAttributeName_t name) const;
  /// Enumerators such as numerical notes.
  template <class T>
  std::vector<T> list(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
    int64_t count = 0;
    get(name, type, 0, &count, nullptr);
    std::vector<T> values(static_cast<size_t>(count));
    get(name, type, count, &count, values.data());
    values.resize(static_cast<size_t>(count));
    return values;
  }
  /// Descriptors of `type`, at most as many as there are.
  std::vector<CudnnDescriptor> descriptors(cudnnBackendAttributeName_t name,
                                           cudnnBackendDescriptorType_t type, const char* what) const;

  cudnnBackendDescriptor_t handle() const { return handle_; }

 private:
  void get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room, int64_t* count,
           void* values) const;
  void swap(CudnnDescriptor& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(what_, other.what_);
  }

  cudnnBackendDescriptor_t handle_ = nullptr;
  std::string what_;
};

/// cuDNN's state on the current device.
class CudnnHandle {
 public:
  CudnnHandle() { check_cudnn(cudnn().create(&handle_), "start cuDNN"); }
  ~CudnnHandle() { cudnn().destroy(handle_); }
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;

  cudnnHandle_t on(cudaStream_t stream) const {
    check_cudnn(cudnn().set_stream(handle_, stream), "give cuDNN a stream");
    return handle_;
  }

 private:
  cudnnHandle_t handle_ = nullptr;
};

}  // namespace branchsae::cuda
