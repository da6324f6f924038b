#include "cuda/network/cudnn_descriptor.h"

#include <fmt/format.h>

namespace branchsae::cuda {

CudnnDescriptor::CudnnDescriptor(cudnnBackendDescriptorType_t type, std::string what)
    : what_(std::move(what)) {
  check_cudnn(cudnn().create_descriptor(type, &handle_), "make " + what_);
}

CudnnDescriptor::~CudnnDescriptor() {
  if (handle_ != nullptr) cudnn().destroy_descriptor(handle_);
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                          const void* values) {
  check_cudnn(cudnn().set_attribute(handle_, name, type, count, values),
              fmt::format("set attribute {} of {}", static_cast<int>(name), what_));
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, std::span<const CudnnDescriptor* const> values) {
  std::vector<cudnnBackendDescriptor_t> handles;
  for (const CudnnDescriptor* value : values) handles.push_back(value->handle_);
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(handles.size()), handles.data());
}

void CudnnDescriptor::get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room,
                          int64_t* count, void* values) const {
  check_cudnn(cudnn().get_attribute(handle_, name, type, room, count, values),
              fmt::format("read attribute {} of {}", static_cast<int>(name), what_));
}

int64_t CudnnDescriptor::int64(cudnnBackendAttributeName_t name) const {
  int64_t value = 0, count = 0;
  get(name, CUDNN_TYPE_INT64, 1, &count, &value);
  return value;
}

std::vector<CudnnDescriptor> CudnnDescriptor::descriptors(cudnnBackendAttributeName_t name,
                                                          cudnnBackendDescriptorType_t type,
                                                          const char* what) const {
  int64_t count = 0;
  get(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr);
  std::vector<CudnnDescriptor> found;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < count; ++i) handles.push_back(found.emplace_back(type, what).handle_);
  if (count > 0) get(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, handles.data());
  found.resize(static_cast<size_t>(count));
  return found;
}

}  // namespace branchsae::cuda
