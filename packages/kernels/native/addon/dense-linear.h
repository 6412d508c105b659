// The linears that every token goes through: of f32 rows, by weights where they lie in the mapped checkpoint; or of bf16
// rows, by weights that were packed into memory of their own (pairs.h).
#pragma once
#include "../compute/compute.h"
#include "../compute/pairs.h"
#include "mapped-file.h"
#include "packed-memory.h"
#include "scratch.h"

namespace moiety {

struct DenseLinear {
  // Empty once it is packed.
  MappedTensor weight;
  MappedTensor bias;
  PackedMemory packed;
  Bf16Linear plain{};
  PairLinear pairs{};
  int64_t out() const { return pairs.words == nullptr ? plain.out : pairs.out; }
};

// Reads and packs the weights of `linear` on so many threads, piece by piece, and lets go of the mapped ones as it goes: no
// more than 16 MB for each thread are ever resident twice. Throws Fault DATA_LOSS.
void pack(DenseLinear& linear, int threads);

// Rows that go into such linears. Written as f32; where activations are bf16, `put` makes the bf16 ones of them.
class DenseRows {
 public:
  // `pairs` null: f32.
  DenseRows(const KernelTable& kernels, const PairKernels* pairs) : kernels_(kernels), pairs_(pairs) {}

  // Makes room for rows of `width` elements; their contents are undefined.
  void need(int64_t count, int64_t width);
  int64_t width() const { return width_; }
  float* row(int64_t index) const { return floats_.data() + index * width_; }
  // Elements `at` and onwards of a row are written, `count` of them.
  void put(int64_t index, int64_t at, int64_t count);
  // y[r][o] of the first y.count rows, o in [begin, end).
  void multiply(const DenseLinear& linear, Rows y, int64_t begin, int64_t end, bool round) const;

 private:
  const KernelTable& kernels_;
  const PairKernels* const pairs_;
  int64_t width_ = 0;
  // Of bf16 rows: even.
  int64_t stride_ = 0;
  Buffer<float> floats_;
  Buffer<uint16_t> words_;
};

}  // namespace moiety
