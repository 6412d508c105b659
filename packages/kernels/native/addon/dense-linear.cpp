#include "dense-linear.h"

namespace moiety {

void pack(DenseLinear& linear) {
  const Bf16Linear from = linear.plain;
  linear.packed = PackedMemory(pair_bytes(from.in, from.out));
  pack_pairs(from, 0, pair_panels(from.out), linear.packed.data());
  linear.pairs = {linear.packed.data(), from.bias, from.in, from.out};
  linear.plain = {};
  linear.weight = {};
}

void DenseRows::need(int64_t count, int64_t width) {
  width_ = width;
  stride_ = (width + 1) / 2 * 2;
  floats_.need(count * width);
  if (pairs_ == nullptr) return;
  words_.need(count * stride_);
  for (int64_t i = 0; width % 2 != 0 && i < count; ++i) words_.data()[i * stride_ + width] = 0;
}

void DenseRows::put(int64_t index, int64_t at, int64_t count) {
  if (pairs_ == nullptr) return;
  kernels_.to_bf16(row(index) + at, reinterpret_cast<uint8_t*>(words_.data() + index * stride_ + at), count);
}

void DenseRows::multiply(const DenseLinear& linear, Rows y, int64_t begin, int64_t end, bool round) const {
  if (pairs_ != nullptr) return pairs_->linear(linear.pairs, {words_.data(), y.count, stride_}, y, begin, end, round);
  kernels_.linear_bf16(linear.plain, {floats_.data(), y.count, width_}, y, begin, end, round);
}

}  // namespace moiety
