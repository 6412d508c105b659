// Experts with int8 activations: MXFP4 weights, whose doubled codes are integers, times rows that were quantised in
// blocks of 32. Products and sums within a block are exact, so every level may use its own instructions and gives the
// same bits. All of it, exactly:
//
//   block b of a row holds elements 32 b .. 32 b + 31; m is the largest magnitude in it
//   m infinite, or any element NaN: the block's scale is NaN and its integers are 0
//   m < 2^-100:                     the scale is 0 and the integers are 0
//   otherwise:                      scale = m / 254, q = x * (127 / m) rounded to the nearest integer, ties to even,
//                                   each operation rounded to f32 as written: |q| <= 127
//   c = twice the value of the code (0, 1, 2, 3, 4, 6, 8, 12 and their negatives); s = the weights' scale byte
//   sum_b = sum over the block of c q, an integer of at most 48,768 in magnitude
//   total = fma(float(sum_b), scale_b * 2^(s_b - 127), total) over ascending b, from +0; the product is rounded to f32
//   y = total + bias, rounded to bf16 if asked for
//
// (m / 254 is half the step m / 127: it makes up for the doubled codes.)
#pragma once
#include "compute.h"

namespace moiety {

constexpr int64_t kInt8Block = 32;
// Outputs whose weights lie side by side.
constexpr int64_t kInt8Panel = 16;
constexpr float kInt8Tiny = 0x1p-100f;

// Packed weights: panels of 16 outputs; a panel holds its blocks in order; a block has 4 runs of 16 words of 4 bytes,
// run u, word o being bytes 4 u .. 4 u + 3 of that output's 16 bytes in the checkpoint. So a vector of words has one
// output per lane, and its low and high nibbles meet elements 8 u + 0, 2, 4, 6 and 8 u + 1, 3, 5, 7 of the block.
// Outputs that fill up the last panel are zero.
struct Int8Linear {
  const uint8_t* codes;   // [panels][in/32][4][16][4], of any alignment, best a multiple of 64
  const uint8_t* scales;  // [panels][in/32][16]
  const uint8_t* bias;    // bf16 [out] or null
  int64_t in;
  int64_t out;
};

// Not shared between the levels' objects, as nothing is that a compiler may build with one level's instructions.
static inline int64_t int8_blocks(int64_t in) { return in / kInt8Block; }
static inline int64_t int8_panels(int64_t out) { return (out + kInt8Panel - 1) / kInt8Panel; }
static inline int64_t int8_code_bytes(int64_t in, int64_t out) { return int8_panels(out) * kInt8Panel * in / 2; }
static inline int64_t int8_scale_bytes(int64_t in, int64_t out) { return int8_panels(out) * kInt8Panel * int8_blocks(in); }

// Packs panels [begin, end) of w to codes and scales, which are those of the whole matrix.
void pack_int8(const Mxfp4Linear& w, int64_t begin, int64_t end, uint8_t* codes, uint8_t* scales);

// Rows of quantised activations. Within each 8 elements the even ones come first, as the packed nibbles do.
struct Int8Rows {
  int8_t* values;        // [count][in]
  float* scales;         // [count][in/32]
  int32_t* corrections;  // [count][in/32]: of each block, in the form of the level that quantised
  int64_t count;
  int64_t in;
};

// The functions of one level. Rows are multiplied by the level that quantised them.
struct Int8Kernels {
  const char* name;
  // Quantises `blocks` blocks of x to element `at` (a multiple of 32) of row `row` and onwards.
  void (*quantise)(const float* x, int64_t blocks, const Int8Rows& to, int64_t row, int64_t at);
  // y[r][o] for every row and o in [begin, end).
  void (*linear)(const Int8Linear& w, const Int8Rows& x, Rows y, int64_t begin, int64_t end, bool round);
  // Multiplies and adds in the innermost loop's instructions alone, from the first-level cache, for `steps` blocks of
  // a tile; returns the number of operations (two per product). For benchmarks.
  int64_t (*peak)(int64_t steps);
};

// Null when this build or this CPU lacks the level. Names as for kernel_table; "avx512" and "neon" stand for the best
// that the CPU has, "avx512-plain" and "neon-plain" for those without dot-product instructions.
const Int8Kernels* int8_kernels(const char* name);

extern const Int8Kernels scalar_int8;
#if defined(__x86_64__)
extern const Int8Kernels avx2_int8;
extern const Int8Kernels avx512_int8;
extern const Int8Kernels avx512_vnni_int8;
#endif
#if defined(__aarch64__)
extern const Int8Kernels neon_int8;
extern const Int8Kernels neon_dot_int8;
#endif

}  // namespace moiety
