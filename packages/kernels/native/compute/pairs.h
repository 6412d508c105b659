// Linears of bf16 rows, in an order that the bf16 dot-product instruction of x86-64 keeps (vdpbf16ps), and that fused
// multiply-adds of f32 keep as well, so that every level gives the same bits. All of it, exactly:
//
//   elements 2p and 2p + 1 are pair p; total starts at +0 and takes the pairs in ascending order:
//   total = fma(w[2p + 1], x[2p + 1], total), then total = fma(w[2p], x[2p], total), each rounded to f32
//   (an odd number of elements is filled up by a zero)
//   subnormal weights, activations and totals count as zeros of their sign; what rounds up to 2^-126 is not subnormal
//   y = total + bias, of which nothing is flushed, rounded to bf16 if asked for
//
// (AArch64 flushes what is subnormal before rounding: a total that rounds up to exactly 2^-126 is zero there.)
#pragma once
#include "compute.h"

namespace moiety {

// Outputs whose weights lie side by side.
constexpr int64_t kPairPanel = 64;

// Packed weights: panels of 64 outputs; a panel holds its pairs in order; a pair has a word of two bf16 for each output.
// So a vector of words has one output per lane, and a panel is read from its start to its end. Outputs that fill up the
// last panel are zero.
struct PairLinear {
  const uint8_t* words;  // [panels][pairs][64][2] bf16, of any alignment, best a multiple of 64
  const uint8_t* bias;   // bf16 [out] or null
  int64_t in;
  int64_t out;
};

// Not shared between the levels' objects, as nothing is that a compiler may build with one level's instructions.
static inline int64_t pairs_of(int64_t in) { return (in + 1) / 2; }
static inline int64_t pair_panels(int64_t out) { return (out + kPairPanel - 1) / kPairPanel; }
static inline int64_t pair_bytes(int64_t in, int64_t out) { return pair_panels(out) * kPairPanel * pairs_of(in) * 4; }

// Packs panels [begin, end) of w to words, which are those of the whole matrix.
void pack_pairs(const Bf16Linear& w, int64_t begin, int64_t end, uint8_t* words);

// Rows of bf16 activations; row i starts at data + i * stride (in elements). Where their number is odd, a zero follows.
struct Bf16Rows {
  const uint16_t* data;
  int64_t count;
  int64_t stride;
};

// The functions of one level.
struct PairKernels {
  const char* name;
  // y[r][o] for every row and o in [begin, end).
  void (*linear)(const PairLinear& w, Bf16Rows x, Rows y, int64_t begin, int64_t end, bool round);
  // Multiplies and adds in the innermost loop's instructions alone, from registers and the first-level cache, for `steps`
  // pairs of a tile; returns the number of operations (two per product). For benchmarks.
  int64_t (*peak)(int64_t steps);
};

// Null when this build or this CPU lacks the level. Names as for kernel_table; "avx512" stands for the best that the CPU
// has, "avx512-plain" for the one without bf16 instructions.
const PairKernels* pair_kernels(const char* name);

extern const PairKernels scalar_pairs;
#if defined(__x86_64__)
extern const PairKernels avx2_pairs;
extern const PairKernels avx512_pairs;
extern const PairKernels avx512_bf16_pairs;
#endif
#if defined(__aarch64__)
extern const PairKernels neon_pairs;
#endif

}  // namespace moiety
