// The kernel of pairs.h over vectors with one output per lane, once for all levels: a group of rows goes through a panel
// in registers. The first group of a panel's rows reads it from memory, further ones from the second-level cache. How rows are
// grouped doesn't show: each (row, output) has its own total.
//
// Included by one file per level after it has defined, in moiety's unnamed namespace, what simd-math.h wants, and:
//   kPairVectors[rows - 1]: vectors of outputs that so many rows take side by side, a divisor of a panel's
//   kMostPairRows: how many rows that is at most
//   kFactors: factors of a pair that are multiplied one after the other: 1 where an instruction takes both elements
//   Factors: Vec::kLanes factors; load_factors<factor>(p): of the weights' words at p (any alignment); multiply_add(total, weights,
//     activations); keep(a): a stays in a register, and is not loaded again for each of its uses
//   RowPart(rows, count, first, pairs): `count` rows' pairs from `first` on, at most kPartPairs; broadcast<factor>(row, pair)
//   FlushSubnormals: subnormal operands and results of floats are zero while an object of it lives
#pragma once
#include "pairs.h"
#include "simd-math.h"

namespace moiety {
namespace {

constexpr int kPanelVectors = static_cast<int>(kPairPanel) / Vec::kLanes;
constexpr int64_t kPanelBytes = 4 * kPairPanel;  // of one pair

// Pairs of a panel that a group of rows meets, and the share of those behind them that is fetched meanwhile: of every `groups` pairs one.
struct PairTask {
  const uint8_t* words;  // of the first pair
  const RowPart& rows;
  int64_t pairs;
  int64_t next;  // bytes from a pair's words to those of the next part or panel
  int64_t group;
  int64_t groups;
};

template <int kFactor, int kRows, int kVectors>
inline __attribute__((always_inline)) void multiply_factors(const PairTask& task, const uint8_t* at, int64_t pair, Vec (&total)[kRows][kVectors]) {
  Factors weights[kVectors];
  MOIETY_UNROLL
  for (int i = 0; i < kVectors; i++) {
    weights[i] = load_factors<kFactor>(at + i * 4 * Vec::kLanes);
    if constexpr (kRows > 1) keep(weights[i]);
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    Factors x = task.rows.broadcast<kFactor>(r, pair);
    keep(x);
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) total[r][i] = multiply_add(total[r][i], weights[i], x);
  }
}

// totals [kRows][64]: vectors v .. v + kVectors - 1 of each row.
template <int kRows, int kVectors>
__attribute__((noinline)) void multiply_pairs(const PairTask& task, int v, float* totals) {
  Vec total[kRows][kVectors];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) total[r][i] = load(totals + r * kPairPanel + (v + i) * Vec::kLanes);
  }
  const uint8_t* at = task.words + v * 4 * Vec::kLanes;
  int64_t until_fetch = task.group;
  for (int64_t p = 0; p < task.pairs; p++) {
    if (until_fetch == 0) {
      MOIETY_UNROLL
      for (int64_t line = 0; line < kVectors * 4 * Vec::kLanes; line += 64) __builtin_prefetch(at + task.next + line, 0, 2);
      until_fetch = task.groups;
    }
    until_fetch--;
    multiply_factors<0>(task, at, p, total);
    if constexpr (kFactors > 1) multiply_factors<1>(task, at, p, total);
    at += kPanelBytes;
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) store(totals + r * kPairPanel + (v + i) * Vec::kLanes, total[r][i]);
  }
}

// `rows` rows, at most kRows, times a whole panel.
template <int kRows>
void multiply_panel(const PairTask& task, int64_t rows, float* totals) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return multiply_panel<kRows - 1>(task, rows, totals);
  }
  constexpr int kVectors = kPairVectors[kRows - 1];
  for (int v = 0; v < kPanelVectors; v += kVectors) multiply_pairs<kRows, kVectors>(task, v, totals);
}

// Outputs [begin, end) of one row, all in the panel that starts at output `first`.
inline void finish_pairs(const PairLinear& w, const float* totals, int64_t first, int64_t begin, int64_t end, float* y, bool round) {
  for (int64_t o = begin; o < end; o++) {
    const float sum = w.bias == nullptr ? totals[o - first] : totals[o - first] + bf16_at(w.bias, o);
    y[o] = rounded(sum, round);
  }
}

// Rows that meet a panel together: their totals lie in the second-level cache.
constexpr int64_t kMostPanelRows = 128;

// At most kMostPanelRows rows times a panel, part by part: the first group of rows reads a part from memory, further ones from a cache.
void linear_panel(const PairLinear& w, Bf16Rows x, int64_t index, float* totals) {
  const FlushSubnormals flushing;
  const int64_t pairs = pairs_of(w.in);
  const int64_t groups = (x.count + kMostPairRows - 1) / kMostPairRows;
  for (int64_t p = 0; p < pairs; p += kPartPairs) {
    const int64_t some = pairs - p < kPartPairs ? pairs - p : kPartPairs;
    for (int64_t group = 0; group < groups; group++) {
      // As even as can be: a group of few rows waits for what it reads.
      const int64_t r = group * x.count / groups, rows = (group + 1) * x.count / groups - r;
      const RowPart part({x.data + r * x.stride, rows, x.stride}, p, some);
      multiply_panel<kMostPairRows>({w.words + (index * pairs + p) * kPanelBytes, part, some, some * kPanelBytes, group, groups}, rows, totals + r * kPairPanel);
    }
  }
}

void linear_pairs(const PairLinear& w, Bf16Rows x, Rows y, int64_t begin, int64_t end, bool round) {
  const int64_t parts = (x.count + kMostPanelRows - 1) / kMostPanelRows;
  for (int64_t part = 0; part < parts; part++) {
    const int64_t r = part * x.count / parts, rows = (part + 1) * x.count / parts - r;
    for (int64_t index = begin / kPairPanel; index < pair_panels(end); index++) {
      alignas(64) float totals[kMostPanelRows * kPairPanel];
      std::memset(totals, 0, static_cast<size_t>(rows * kPairPanel) * sizeof totals[0]);
      linear_panel(w, {x.data + r * x.stride, rows, x.stride}, index, totals);
      const int64_t first = index * kPairPanel;
      const int64_t from = begin > first ? begin : first;
      const int64_t to = end < first + kPairPanel ? end : first + kPairPanel;
      for (int64_t i = 0; i < rows; i++) finish_pairs(w, totals + i * kPairPanel, first, from, to, y.data + (r + i) * y.stride, round);
    }
  }
}

// One register tile, over and over.
int64_t pairs_peak(int64_t steps) {
  constexpr int kRows = static_cast<int>(kMostPairRows), kVectors = kPairVectors[kMostPairRows - 1];
  alignas(64) uint8_t words[kVectors * 4 * Vec::kLanes];
  alignas(64) uint16_t rows[kRows * 2];
  std::memset(words, 0x3f, sizeof words);
  std::memset(rows, 0x3f, sizeof rows);
  Vec total[kRows][kVectors];
  Factors weights[kVectors];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) total[r][i] = zero();
  }
  const RowPart part({rows, kRows, 2}, 0, 1);
  for (int64_t step = 0; step < steps * kFactors; step++) {
    // Makes the compiler load the operands again, and so multiply again.
    asm volatile("" : : "r"(words), "r"(&part) : "memory");
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) {
      weights[i] = load_factors<kFactors - 1>(words + i * 4 * Vec::kLanes);
      keep(weights[i]);
    }
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      Factors x = part.broadcast<0>(r, 0);
      keep(x);
      MOIETY_UNROLL
      for (int i = 0; i < kVectors; i++) total[r][i] = multiply_add(total[r][i], weights[i], x);
    }
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) {
      float lanes[Vec::kLanes];
      store(lanes, total[r][i]);
      asm volatile("" : : "r"(lanes) : "memory");
    }
  }
  return steps * kRows * kVectors * Vec::kLanes * 4;
}

constexpr PairKernels pair_table(const char* name) { return {name, linear_pairs, pairs_peak}; }

}  // namespace
}  // namespace moiety
