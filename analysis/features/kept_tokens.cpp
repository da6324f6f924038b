#include "analysis/features/kept_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr int64_t kBits = 64;

template <class T>
int64_t bytes_of(const std::vector<T>& values) {
  return static_cast<int64_t>(values.capacity() * sizeof(T));
}

template <class T>
std::vector<T> copy_of(View<const T, 2> rows) {
  std::vector<T> copy;
  copy.reserve(static_cast<size_t>(rows.size()));
  for (int64_t t = 0; t < rows.shape[0]; ++t) {
    for (int64_t i = 0; i < rows.shape[1]; ++i) copy.push_back(rows(t, i));
  }
  return copy;
}

}  // namespace

KeptTokens::KeptTokens(int64_t width) : width_(width), words_((width + kBits - 1) / kBits) {}

void KeptTokens::add(View<const float, 2> rows) {
  if (rows.shape[1] != width_)
    throw ShapeError(fmt::format("tokens of {} channels among those of {}", rows.shape[1], width_));
  Batch batch;
  batch.tokens = rows.shape[0];
  batch.present.resize(static_cast<size_t>(batch.tokens * words_));
  int64_t kept = 0;
  for (int64_t t = 0; t < batch.tokens; ++t) {
    uint64_t* present = batch.present.data() + t * words_;
    for (int64_t c = 0; c < width_; ++c)  // by bits: a zero with a sign is kept
      present[c / kBits] |= static_cast<uint64_t>(std::bit_cast<uint32_t>(rows(t, c)) != 0) << (c % kBits);
    for (int64_t w = 0; w < words_; ++w) kept += std::popcount(present[w]);
  }
  batch.values.reserve(static_cast<size_t>(kept));
  for (int64_t t = 0; t < batch.tokens; ++t) {
    for (int64_t w = 0; w < words_; ++w) {
      for (uint64_t left = batch.present[static_cast<size_t>(t * words_ + w)]; left != 0; left &= left - 1)
        batch.values.push_back(rows(t, w * kBits + std::countr_zero(left)));
    }
  }
  bytes_ += bytes_of(batch.present) + bytes_of(batch.values);
  batches_.push_back(std::move(batch));
}

View<const float, 2> KeptTokens::read(int64_t number, std::vector<float>& memory) const {
  const Batch& batch = batches_.at(static_cast<size_t>(number));
  memory.assign(static_cast<size_t>(batch.tokens * width_), 0.0F);
  const float* next = batch.values.data();
  for (int64_t t = 0; t < batch.tokens; ++t) {
    float* row = memory.data() + t * width_;
    for (int64_t w = 0; w < words_; ++w) {
      for (uint64_t left = batch.present[static_cast<size_t>(t * words_ + w)]; left != 0; left &= left - 1)
        row[w * kBits + std::countr_zero(left)] = *next++;
    }
  }
  return {memory.data(), {batch.tokens, width_}};
}

void KeptCodes::add(View<const float, 2> values, View<const int32_t, 2> indices) {
  if (values.shape != indices.shape)
    throw ShapeError(fmt::format("codes: values {} x {}, indices {} x {}", values.shape[0], values.shape[1],
                                 indices.shape[0], indices.shape[1]));
  Batch batch{values.shape, copy_of(values), copy_of(indices)};
  bytes_ += bytes_of(batch.values) + bytes_of(batch.indices);
  batches_.push_back(std::move(batch));
}

View<const float, 2> KeptCodes::values(int64_t batch) const {
  const Batch& kept = batches_.at(static_cast<size_t>(batch));
  return {kept.values.data(), kept.shape};
}

View<const int32_t, 2> KeptCodes::indices(int64_t batch) const {
  const Batch& kept = batches_.at(static_cast<size_t>(batch));
  return {kept.indices.data(), kept.shape};
}

}  // namespace branchsae
