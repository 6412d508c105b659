// What int8-stream.h and int8-tile.h share: panels, one block of them times a few rows in registers, and the way from totals to outputs.
// Included by int8-simd.h alone.
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

// A block of weights as they lie in the packed matrix.
template <int kPanels>
struct PackedBlock {
  const Panels<kPanels>& panels;
  int64_t block;

  void weights(int vector, int unit, Bytes& even, Bytes& odd) const { unpack(panels.codes_of(vector, block, unit), even, odd); }
  Floats scales(int vector) const { return load_scales(panels.scales_of(vector, block)); }
};

// Adds a block's products to the totals of kRows rows; `at` is the block's number in x.
template <int kRows, int kVectors, class Block>
inline __attribute__((always_inline)) void multiply_block(const Block& block, const Int8Rows& x, int64_t blocks, int64_t at, Floats (&total)[kRows][kVectors]) {
  Sums sum[kRows][kVectors];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    const Sums first = start(x.corrections[r * blocks + at]);
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) sum[r][v] = first;
  }
  const int8_t* const words = x.values + at * kInt8Block;
  MOIETY_UNROLL
  for (int u = 0; u < kSteps / 2; u++) {
    Bytes even[kVectors], odd[kVectors];
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) {
      block.weights(v, u, even[v], odd[v]);
      keep(even[v]);
      keep(odd[v]);
    }
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      Bytes word = broadcast_word(words + r * blocks * kInt8Block + 8 * u);
      keep(word);
      MOIETY_UNROLL
      for (int v = 0; v < kVectors; v++) sum[r][v] = multiply_add(sum[r][v], even[v], word);
    }
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      Bytes word = broadcast_word(words + r * blocks * kInt8Block + 8 * u + 4);
      keep(word);
      MOIETY_UNROLL
      for (int v = 0; v < kVectors; v++) sum[r][v] = multiply_add(sum[r][v], odd[v], word);
    }
  }
  MOIETY_UNROLL
  for (int v = 0; v < kVectors; v++) {
    const Floats scales = block.scales(v);
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      total[r][v] = fma(to_floats(sum[r][v]), mul(broadcast(x.scales[r * blocks + at]), scales), total[r][v]);
    }
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

// From totals to outputs [begin, end) of a slice, for the panels that start at `panel`.
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

inline Int8Rows some_rows(const Int8Rows& x, int64_t first, int64_t count) {
  const int64_t blocks = int8_blocks(x.in);
  return {x.values + first * x.in, x.scales + first * blocks, x.corrections + first * blocks, count, x.in};
}

}  // namespace
}  // namespace moiety
