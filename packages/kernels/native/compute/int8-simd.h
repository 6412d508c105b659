// The kernels of int8.h over vectors with one output per lane, once for all levels: codes go through registers to a group
// of rows, whose sums and totals stay in registers from the first block to the last. How rows are grouped doesn't show:
// each (row, output) takes its blocks in ascending order into one total.
//
// Included by one file per level after it has defined, in moiety's unnamed namespace:
//   Floats: kLanes outputs' totals; load, store, broadcast, zero_floats, mul, fma(a, b, c) = a*b + c
//   Bytes: kLanes words of 4 weights, or of activations; load_bytes, broadcast_word
//   Sums: kLanes sums of a block under way; start(correction), multiply_add(sums, weights, activations), to_floats
//   unpack(packed, even, odd): kLanes words of codes to weights as multiply_add takes them
//   load_scales(bytes): kLanes powers of two, 2^(byte - 127)
//   quantise_block(x, values, scale, correction)
//   kRowPanels[rows - 1]: panels that so many rows take side by side
// As in simd-math.h, everything has internal linkage.
#pragma once
#include <cstring>

#include "int8.h"
#include "unroll.h"

namespace moiety {
namespace {

constexpr int kLanes = Floats::kLanes;
constexpr int kPanelVectors = static_cast<int>(kInt8Panel) / kLanes;
constexpr int kVectorBytes = kLanes * 4;
constexpr int kSteps = 8;  // words of activations in a block
constexpr int64_t kBlockCodes = kInt8Panel * kInt8Block / 2;

// The vectors of kPanels panels from `panel` on, as they lie in the packed matrix.
template <int kPanels>
struct Panels {
  static constexpr int kVectors = kPanels * kPanelVectors;
  const uint8_t* codes;
  const uint8_t* scales;
  int64_t blocks;

  Panels(const Int8Linear& w, int64_t panel)
      : codes(w.codes + panel * int8_blocks(w.in) * kBlockCodes),
        scales(w.scales + panel * int8_blocks(w.in) * kInt8Panel),
        blocks(int8_blocks(w.in)) {}

  const uint8_t* codes_of(int vector, int64_t block, int unit) const {
    return codes + (vector / kPanelVectors * blocks + block) * kBlockCodes + unit * kInt8Panel * 4 +
           vector % kPanelVectors * kVectorBytes;
  }
  const uint8_t* scales_of(int vector, int64_t block) const {
    return scales + (vector / kPanelVectors * blocks + block) * kInt8Panel + vector % kPanelVectors * kLanes;
  }
  // The cache lines of a block, which may lie behind the matrix.
  void prefetch(int64_t block) const {
    MOIETY_UNROLL
    for (int p = 0; p < kPanels; p++) {
      const uint8_t* at = codes + (p * blocks + block) * kBlockCodes;
      MOIETY_UNROLL
      for (int line = 0; line < kBlockCodes; line += 64) __builtin_prefetch(at + line);
      __builtin_prefetch(scales + (p * blocks + block) * kInt8Panel);
    }
  }
};

// Outputs [begin, end) of a slice, with the biases of one tile's panels.
template <int kPanels>
struct Finish {
  static constexpr int64_t kOuts = kPanels * kInt8Panel;
  const int64_t first;
  const int64_t begin;
  const int64_t end;
  const bool round;
  float bias[kOuts];

  Finish(const Int8Linear& w, int64_t panel, int64_t begin_, int64_t end_, bool round_)
      : first(panel * kInt8Panel), begin(begin_), end(end_), round(round_) {
    for (int64_t i = 0; i < kOuts; i++) {
      // Adding -0 changes nothing, +0 would change -0.
      uint32_t bits = 0x80000000;
      const int64_t o = first + i;
      if (w.bias != nullptr && o < w.out) bits = (uint32_t{w.bias[2 * o]} | uint32_t{w.bias[2 * o + 1]} << 8) << 16;
      std::memcpy(&bias[i], &bits, 4);
    }
  }

  void write(const float* totals, float* y) const {
    float values[kOuts];
    for (int64_t i = 0; i < kOuts; i++) values[i] = totals[i] + bias[i];
    if (round) {
      for (int64_t i = 0; i < kOuts; i++) {
        uint32_t bits;
        std::memcpy(&bits, &values[i], 4);
        const uint32_t up = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
        bits = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : up;
        std::memcpy(&values[i], &bits, 4);
      }
    }
    if (begin <= first && first + kOuts <= end) {
      std::memcpy(y + first, values, sizeof values);
      return;
    }
    for (int64_t i = 0; i < kOuts; i++) {
      if (first + i >= begin && first + i < end) y[first + i] = values[i];
    }
  }
};

// kRows rows times kPanels panels, codes straight from memory.
template <int kRows, int kPanels>
__attribute__((noinline)) void stream_panels(const Int8Linear& w, const Int8Rows& x, Rows y, int64_t panel, const Finish<kPanels>& finish) {
  constexpr int kVectors = Panels<kPanels>::kVectors;
  // 2 KiB or so ahead of one panel: the prefetchers stop at the ends of pages.
  constexpr int64_t kAhead = 8;
  const Panels<kPanels> panels(w, panel), next(w, panel + kPanels);
  const int64_t blocks = int8_blocks(w.in);
  Floats total[kRows][kVectors];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) total[r][v] = zero_floats();
  }
  for (int64_t b = 0; b < blocks; b++) {
    if (b + kAhead < blocks) {
      panels.prefetch(b + kAhead);
    } else {
      next.prefetch(b + kAhead - blocks);
    }
    Sums sum[kRows][kVectors];
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      const Sums first = start(x.corrections[r * blocks + b]);
      MOIETY_UNROLL
      for (int v = 0; v < kVectors; v++) sum[r][v] = first;
    }
    MOIETY_UNROLL
    for (int u = 0; u < kSteps / 2; u++) {
      MOIETY_UNROLL
      for (int v = 0; v < kVectors; v++) {
        Bytes even, odd;
        unpack(panels.codes_of(v, b, u), even, odd);
        MOIETY_UNROLL
        for (int r = 0; r < kRows; r++) {
          const int8_t* words = x.values + (r * blocks + b) * kInt8Block + 8 * u;
          sum[r][v] = multiply_add(sum[r][v], even, broadcast_word(words));
          sum[r][v] = multiply_add(sum[r][v], odd, broadcast_word(words + 4));
        }
      }
    }
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) {
      const Floats scales = load_scales(panels.scales_of(v, b));
      MOIETY_UNROLL
      for (int r = 0; r < kRows; r++) {
        total[r][v] = fma(to_floats(sum[r][v]), mul(broadcast(x.scales[r * blocks + b]), scales), total[r][v]);
      }
    }
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    alignas(64) float totals[kVectors * kLanes];
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) store(totals + v * kLanes, total[r][v]);
    finish.write(totals, y.data + r * y.stride);
  }
}

// Panels [panel, last) of a slice.
struct PanelCut {
  int64_t panel;
  int64_t last;
  int64_t begin;
  int64_t end;
  bool round;
};

// Rows in groups as even as can be, each through all panels of a cut: the first group reads codes from memory, further
// ones from a cache.
template <int kRows>
void multiply_group(const Int8Linear& w, const Int8Rows& x, Rows y, const PanelCut& cut) {
  if constexpr (kRows > 1) {
    if (x.count < kRows) return multiply_group<kRows - 1>(w, x, y, cut);
  }
  constexpr int kMost = kRowPanels[kRows - 1];
  int64_t panel = cut.panel;
  for (; panel + kMost <= cut.last; panel += kMost) {
    stream_panels<kRows, kMost>(w, x, y, panel, Finish<kMost>(w, panel, cut.begin, cut.end, cut.round));
  }
  if constexpr (kMost > 1) {
    for (; panel < cut.last; panel++) stream_panels<kRows, 1>(w, x, y, panel, Finish<1>(w, panel, cut.begin, cut.end, cut.round));
  }
}

constexpr int64_t kMostRows = sizeof kRowPanels / sizeof kRowPanels[0];
constexpr int64_t kCutPanels = 4;  // what stays in the second-level cache beside a group's rows, and a multiple of kRowPanels

void linear(const Int8Linear& w, const Int8Rows& x, Rows y, int64_t begin, int64_t end, bool round) {
  const int64_t groups = (x.count + kMostRows - 1) / kMostRows;
  const int64_t last = int8_panels(end), blocks = int8_blocks(w.in);
  const int64_t width = groups == 1 ? last : kCutPanels;
  for (int64_t panel = begin / kInt8Panel; panel < last; panel += width) {
    const PanelCut cut{panel, panel + width < last ? panel + width : last, begin, end, round};
    for (int64_t group = 0, r = 0; group < groups; group++) {
      const int64_t rows = (x.count - r + groups - group - 1) / (groups - group);
      const Int8Rows some{x.values + r * x.in, x.scales + r * blocks, x.corrections + r * blocks, rows, x.in};
      multiply_group<kMostRows>(w, some, {y.data + r * y.stride, rows, y.stride}, cut);
      r += rows;
    }
  }
}

void quantise(const float* x, int64_t blocks, const Int8Rows& to, int64_t row, int64_t at) {
  for (int64_t b = 0; b < blocks; b++) {
    const int64_t block = row * int8_blocks(to.in) + at / kInt8Block + b;
    quantise_block(x + b * kInt8Block, to.values + block * kInt8Block, to.scales + block, to.corrections + block);
  }
}

// One tile of multiply, over and over, without what ends a block.
int64_t peak(int64_t steps) {
  constexpr int kVectors = 2, kRows = 4;
  alignas(64) uint8_t weights[kSteps][kVectors][kVectorBytes];
  alignas(64) int8_t words[kRows][kInt8Block];
  std::memset(weights, 3, sizeof weights);
  std::memset(words, 5, sizeof words);
  Sums sum[kRows][kVectors];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) sum[r][v] = start(0);
  }
  for (int64_t step = 0; step < steps; step++) {
    // Makes the compiler load the operands again, and so multiply again.
    asm volatile("" : : "r"(weights), "r"(words) : "memory");
    MOIETY_UNROLL
    for (int s = 0; s < kSteps; s++) {
      Bytes weight[kVectors];
      MOIETY_UNROLL
      for (int v = 0; v < kVectors; v++) weight[v] = load_bytes(weights[s][v]);
      MOIETY_UNROLL
      for (int r = 0; r < kRows; r++) {
        const Bytes word = broadcast_word(words[r] + 4 * s);
        MOIETY_UNROLL
        for (int v = 0; v < kVectors; v++) sum[r][v] = multiply_add(sum[r][v], weight[v], word);
      }
    }
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) {
      float lanes[kLanes];
      store(lanes, to_floats(sum[r][v]));
      asm volatile("" : : "r"(lanes) : "memory");
    }
  }
  return steps * kSteps * kRows * kVectors * kVectorBytes * 2;
}

constexpr Int8Kernels int8_table(const char* name) { return {name, quantise, linear, peak}; }

}  // namespace
}  // namespace moiety
