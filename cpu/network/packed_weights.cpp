#include "cpu/network/packed_weights.h"

#include <algorithm>

#include "cpu/memory.h"

namespace branchsae::cpu {
namespace {

dnnl::memory::desc row_major(const Shape& shape, int64_t groups) {
  dnnl::memory::dims dims(shape.begin(), shape.end());
  if (groups > 1) {
    dims.front() /= groups;
    dims.insert(dims.begin(), groups);
  }
  dnnl::memory::dims strides(dims.size(), 1);
  for (size_t axis = dims.size() - 1; axis > 0; --axis) strides[axis - 1] = strides[axis] * dims[axis];
  return {dims, dnnl::memory::data_type::f32, strides};
}

}  // namespace

PackedWeights::PackedWeights(OnednnContext& context, const HostTensor& values,
                             const dnnl::memory::desc& wanted, int64_t groups)
    : owner_(allocate_host(static_cast<int64_t>(wanted.get_size()), "packed weights")),
      memory_(wanted, context.engine, owner_.data()) {
  // oneDNN's interface takes no pointer to const, but only reads the source.
  dnnl::memory source(row_major(values.shape(), groups), context.engine, const_cast<float*>(values.data()));
  dnnl::reorder(source, memory_).execute(context.stream, source, memory_);
  context.stream.wait();
}

HostTensor padded_vector(const HostTensor& values, int64_t size) {
  HostTensor padded(Shape{size});
  std::copy_n(values.data(), std::min(values.size(), size), padded.data());
  return padded;
}

}  // namespace branchsae::cpu
