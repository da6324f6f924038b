#include "model/device_rows.h"

namespace branchsae::model {

HostTensor rows_to_host_sync(Backend& backend, Stream& stream, View<const float, 2> rows) {
  HostTensor host({rows.shape[0], rows.shape[1]});
  if (rows.contiguous()) {
    rows_to_host_sync(backend, stream, rows, host.data());
    return host;
  }
  auto packed = backend.buffer<float>(rows.size(), "tokens on their way to the host");
  const View<float, 2> view = packed.matrix(rows.shape[0], rows.shape[1]);
  backend.copy_rows(stream, rows, view);
  rows_to_host_sync(backend, stream, view, host.data());
  return host;
}

void rows_to_host_sync(Backend& backend, Stream& stream, View<const float, 2> rows, float* destination) {
  backend.copy_to_host(stream, destination, rows.data, rows.size() * static_cast<int64_t>(sizeof(float)));
  stream.synchronize();
}

}  // namespace branchsae::model
