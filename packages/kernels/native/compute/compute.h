// The arithmetic of the forward pass, one table of functions per instruction-set level.
//
// Every function computes a slice of its output on one thread. Which slice, with which neighbours, never changes a bit:
// each output element is reduced in one fixed order that depends on that element's own inputs alone. The order is the
// same at every level, so that all levels give the same bits (docs/kernels.md, "The canonical order").
//
// Activations are f32 here. In bf16 mode the caller asks for results rounded to bf16 (still held in f32), which is exact.
// Weights are read where they lie in the mapped checkpoint: bf16 or MXFP4, row-major [out, in], of any alignment.
#pragma once
#include <cstddef>
#include <cstdint>

namespace moiety {

// A bf16 matrix [rows_out, cols_in] in the checkpoint; bias is bf16 [rows_out] or null.
struct Bf16Linear {
  const uint8_t* weight;
  const uint8_t* bias;
  int64_t in;
  int64_t out;
};

// An MXFP4 matrix: blocks [out, in/32, 16], scales [out, in/32]; bias is bf16 [out] or null.
struct Mxfp4Linear {
  const uint8_t* blocks;
  const uint8_t* scales;
  const uint8_t* bias;
  int64_t in;
  int64_t out;
};

// Rows of f32 activations; row i starts at data + i * stride (in floats).
struct Rows {
  float* data;
  int64_t count;
  int64_t stride;
};
struct ConstRows {
  const float* data;
  int64_t count;
  int64_t stride;
};

// Keys or values of one layer: pages [page][pageTokens][kvHeads][headDim], f32 or bf16.
struct KvPages {
  void* data;
  int64_t page_tokens;
  int64_t kv_heads;
  int64_t head_dim;
  bool bf16;
};

// One query row's view of its sequence. Positions first_visible .. position are attended to;
// position p lies in page pages[p / page_tokens - first_block], at p % page_tokens.
struct AttentionRow {
  const int32_t* pages;
  int64_t first_block;
  int64_t first_visible;
  int64_t position;
  // Its keys and values come from memory, and its kv heads are asked for one after the other: fetch ahead. Changes no bit.
  bool fetch = false;
};

struct KernelTable {
  const char* name;

  // y[r][o] = bias[o] + sum_i w[o][i] x[r][i] for every row and o in [begin, end); rounded to bf16 if `round`.
  void (*linear_bf16)(const Bf16Linear& w, ConstRows x, Rows y, int64_t begin, int64_t end, bool round);
  void (*linear_mxfp4)(const Mxfp4Linear& w, ConstRows x, Rows y, int64_t begin, int64_t end, bool round);

  // out[i] = x[i] * rsqrt(mean(x^2) + eps) * scale[i], n elements; scale is bf16.
  void (*rms_norm)(const float* x, const uint8_t* scale, int64_t n, float eps, float* out, bool round);

  // In place on heads [heads][head_dim]: half-split pairs (i, i + head_dim/2); cos, sin [head_dim/2].
  void (*rope)(float* heads, int64_t count, int64_t head_dim, const float* cos, const float* sin, bool round);

  // Attention of one query row for one kv head and the `group` query heads that share it.
  // q [group][head_dim], sinks bf16 [group] (already offset to this group), out [group][head_dim].
  // scores: scratch of group * (position - first_visible + 1) floats.
  void (*attention)(const AttentionRow& row, const KvPages& keys, const KvPages& values, int64_t kv_head, const float* q,
                    int64_t group, float scale, const uint8_t* sinks, float* out, float* scores, bool round);

  // u [2*intermediate] interleaved gate, up -> out [intermediate].
  void (*swiglu)(const float* u, int64_t intermediate, float limit, float* out, bool round);

  // residual[i] += sum_k weights[k] * rows[k][i], k in order, in f32. Rows are f32 or bf16, of any alignment.
  void (*combine)(float* residual, const uint8_t* const* rows, const float* weights, int64_t k, int64_t n, bool rows_bf16);

  // residual[i] += y[i].
  void (*add)(float* residual, const float* y, int64_t n);

  // Unaligned bf16 <-> f32; to_bf16 rounds to nearest even.
  void (*from_bf16)(const uint8_t* in, float* out, int64_t n);
  void (*to_bf16)(const float* in, uint8_t* out, int64_t n);

  // The k best of n logits, best first, ties to the lowest index, and the softmax over those k.
  void (*top_k_softmax)(const float* logits, int64_t n, int64_t k, uint16_t* ids, float* weights);

  // Sum of exp(x[i] - max) in the canonical order, with the canonical exp; for log-probabilities and sampling.
  float (*sum_exp)(const float* x, int64_t n, float max);
  // out[i] = exp(x[i] - max).
  void (*exp_shifted)(const float* x, int64_t n, float max, float* out);
};

// Whether one or two rows read packed weights as several streams side by side rather than as one. Which of them a core does faster
// differs: Intel's (Ice Lake) read 80 to 100% of what the memory gives in four streams and 75 to 80% in one, AMD's (Zen 4) 50% in four and
// all in one. No bit depends on it. Set by the CPU's maker when this is loaded, and by tests while no other thread computes.
extern bool reads_side_by_side;

// Null when this build or this CPU lacks the level. Names: "scalar", "avx2", "avx512", "neon".
const KernelTable* kernel_table(const char* name);
// The best level of this CPU.
const KernelTable* best_kernel_table();

}  // namespace moiety
