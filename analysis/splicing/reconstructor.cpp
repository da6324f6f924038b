#include "analysis/splicing/reconstructor.h"

#include <algorithm>

namespace branchsae {

Reconstructor::Reconstructor(Backend& backend, int64_t rows, int64_t k, int64_t d)
    : values_(backend.buffer<float>(rows * k, "code values")),
      x_hat_(backend.buffer<float>(rows * d, "reconstruction")),
      indices_(backend.buffer<int32_t>(rows * k, "code indices")) {}

View<const float, 2> Reconstructor::run(Stream& stream, SaeExecutor& sae, View<const float, 2> tokens,
                                        int64_t k) {
  const int64_t rows = tokens.shape[0], most = sae.spec().max_batch;
  const View<float, 2> values = values_.matrix(rows, k), x_hat = x_hat_.matrix(rows, sae.spec().d);
  const View<int32_t, 2> indices = indices_.matrix(rows, k);
  for (int64_t begin = 0; begin < rows; begin += most) {
    const int64_t part = std::min(most, rows - begin);
    sae.encode(stream, tokens.rows(begin, part), values.rows(begin, part), indices.rows(begin, part));
    sae.decode(stream, values.rows(begin, part), indices.rows(begin, part), x_hat.rows(begin, part));
  }
  return x_hat;
}

}  // namespace branchsae
