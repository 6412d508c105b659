// The kernels of int8.h over vectors with one output per lane, once for all levels. How rows are grouped doesn't show: each
// (row, output) takes its blocks in ascending order into one total. Few rows go through the packed matrix as it comes from memory
// (int8-stream.h); many go through a tile of it that the first of them unpack (int8-tile.h).
//
// Included by one file per level after it has defined, in moiety's unnamed namespace:
//   Floats: kLanes outputs' totals; load, store, broadcast, zero_floats, mul, fma(a, b, c) = a*b + c
//   Bytes: kLanes words of 4 weights, or of activations; load_bytes, store_bytes, broadcast_word; keep(a): a stays in a register,
//     and is not loaded again for each of its uses
//   Sums: kLanes sums of a block under way; start(correction), multiply_add(sums, weights, activations), to_floats
//   unpack(packed, even, odd): kLanes words of codes to weights as multiply_add takes them
//   load_scales(bytes): kLanes powers of two, 2^(byte - 127)
//   quantise_block(x, values, scale, correction)
//   kRowPanels[rows - 1]: panels that so many rows take side by side as they come from memory; more rows use tiles
//   kStreams: panels that one or two rows take so where the CPU reads them faster side by side
//   kTileRows, kTilePanels: rows and panels that a tile multiplies at a time: as many sums and totals as registers hold, or nearly
// As in simd-math.h, everything has internal linkage.
#pragma once
#include "int8-stream.h"
#include "int8-tile.h"

namespace moiety {
namespace {

void linear(const Int8Linear& w, const Int8Rows& x, Rows y, int64_t begin, int64_t end, bool round) {
  const PanelCut cut{begin / kInt8Panel, int8_panels(end), begin, end, round};
  if (x.count == 0) return;
  if (x.count <= kMostStreamed) return stream_rows<kMostStreamed>(w, x, y, cut);
  const int64_t parts = (x.count + kMostTiled - 1) / kMostTiled;
  for (int64_t part = 0; part < parts; part++) {
    const int64_t r = part * x.count / parts, rows = (part + 1) * x.count / parts - r;
    tile_rows(w, some_rows(x, r, rows), {y.data + r * y.stride, rows, y.stride}, cut);
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
  constexpr int kVectors = Tile::kVectors, kRows = kTileRows;
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
      for (int v = 0; v < kVectors; v++) {
        weight[v] = load_bytes(weights[s][v]);
        keep(weight[v]);
      }
      MOIETY_UNROLL
      for (int r = 0; r < kRows; r++) {
        Bytes word = broadcast_word(words[r] + 4 * s);
        keep(word);
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
