// The rows that go into a linear of an expert: f32, or quantised to int8 in blocks of 32.
#pragma once
#include <cstdint>

#include "../compute/int8.h"
#include "scratch.h"

namespace moiety {

class ActivationRows {
 public:
  // `int8` null: f32.
  explicit ActivationRows(const Int8Kernels* int8) : int8_(int8) {}

  // Makes room for rows of `width` elements; their contents are undefined.
  void need(int64_t count, int64_t width) {
    width_ = width;
    if (int8_ == nullptr) {
      plain_.need(count * width);
      return;
    }
    values_.need(count * width);
    scales_.need(count * int8_blocks(width));
    corrections_.need(count * int8_blocks(width));
  }

  // Where elements `at` and onwards of a row are to be written before `put`: the row itself, or `scratch`.
  float* place(int64_t row, int64_t at, float* scratch) { return int8_ == nullptr ? plain_.data() + row * width_ + at : scratch; }
  // Quantises what was written to the place, `count` elements; both a multiple of 32 with int8.
  void put(int64_t row, int64_t at, const float* place, int64_t count) {
    if (int8_ != nullptr) int8_->quantise(place, int8_blocks(count), quantised(0, 0), row, at);
  }

  ConstRows plain(int64_t first, int64_t count) const { return {plain_.data() + first * width_, count, width_}; }
  Int8Rows quantised(int64_t first, int64_t count) const {
    const int64_t block = first * int8_blocks(width_);
    return {values_.data() + first * width_, scales_.data() + block, corrections_.data() + block, count, width_};
  }

 private:
  const Int8Kernels* const int8_;
  int64_t width_ = 0;
  Buffer<float> plain_;
  Buffer<int8_t> values_;
  Buffer<float> scales_;
  Buffer<int32_t> corrections_;
};

}  // namespace moiety
