// The kernel of pairs.h over vectors with one output per lane, once for all levels: a group of rows goes through a panel
// in registers, from its first pair to its last. The first group of a panel's rows reads it from memory, further ones from
// the second-level cache. How rows are grouped doesn't show: each (row, output) has its own total.
//
// Included by one file per level after it has defined, in moiety's unnamed namespace, what simd-math.h wants, and:
//   Words: Vec::kLanes words of a pair each; load_words (any alignment); broadcast_word(p): the word at p in every lane;
//     dot(total, weights, activations)
//   FlushSubnormals: subnormal operands and results of floats are zero while an object of it lives
//   kPairVectors[rows - 1]: vectors of outputs that so many rows take side by side, a divisor of a panel's
#pragma once
#include "pairs.h"
#include "simd-math.h"

namespace moiety {
namespace {

constexpr int kPanelVectors = static_cast<int>(kPairPanel) / Vec::kLanes;
constexpr int64_t kPanelBytes = 4 * kPairPanel;  // of one pair
constexpr int64_t kMostPairRows = sizeof kPairVectors / sizeof kPairVectors[0];

// A group of rows times one panel, and the share of the next panel that is fetched meanwhile: of every `groups` pairs one.
struct PairTask {
  const uint8_t* panel;
  int64_t pairs;
  const uint16_t* rows;
  int64_t stride;
  int64_t group;
  int64_t groups;
};

// totals [kRows][64]: vectors v .. v + kVectors - 1 of each row.
template <int kRows, int kVectors>
__attribute__((noinline)) void multiply_pairs(const PairTask& task, int v, float* totals) {
  Vec total[kRows][kVectors];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) total[r][i] = zero();
  }
  const uint8_t* at = task.panel + v * 4 * Vec::kLanes;
  const uint16_t* row = task.rows;
  const int64_t next_panel = task.pairs * kPanelBytes;
  int64_t until_fetch = task.group;
  for (int64_t p = 0; p < task.pairs; p++) {
    if (until_fetch == 0) {
      MOIETY_UNROLL
      for (int64_t line = 0; line < kVectors * 4 * Vec::kLanes; line += 64) __builtin_prefetch(at + next_panel + line, 0, 2);
      until_fetch = task.groups;
    }
    until_fetch--;
    Words weights[kVectors];
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) weights[i] = load_words(at + i * 4 * Vec::kLanes);
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      const Words x = broadcast_word(row + r * task.stride);
      MOIETY_UNROLL
      for (int i = 0; i < kVectors; i++) total[r][i] = dot(total[r][i], weights[i], x);
    }
    at += kPanelBytes;
    row += 2;
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

void linear_pairs(const PairLinear& w, Bf16Rows x, Rows y, int64_t begin, int64_t end, bool round) {
  const int64_t groups = (x.count + kMostPairRows - 1) / kMostPairRows;
  for (int64_t index = begin / kPairPanel; index < pair_panels(end); index++) {
    const int64_t first = index * kPairPanel;
    const int64_t from = begin > first ? begin : first;
    const int64_t to = end < first + kPairPanel ? end : first + kPairPanel;
    for (int64_t group = 0, r = 0; group < groups; group++) {
      // As even as can be: a group of few rows waits for what it reads.
      const int64_t rows = (x.count - r + groups - group - 1) / (groups - group);
      alignas(64) float totals[kMostPairRows * kPairPanel];
      {
        const FlushSubnormals flushing;
        const int64_t pairs = pairs_of(w.in);
        multiply_panel<kMostPairRows>({w.words + index * pairs * kPanelBytes, pairs, x.data + r * x.stride, x.stride, group, groups}, rows, totals);
      }
      for (int64_t i = 0; i < rows; i++) finish_pairs(w, totals + i * kPairPanel, first, from, to, y.data + (r + i) * y.stride, round);
      r += rows;
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
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) total[r][i] = zero();
  }
  for (int64_t step = 0; step < steps; step++) {
    // Makes the compiler load the operands again, and so multiply again.
    asm volatile("" : : "r"(words), "r"(rows) : "memory");
    Words weights[kVectors];
    MOIETY_UNROLL
    for (int i = 0; i < kVectors; i++) weights[i] = load_words(words + i * 4 * Vec::kLanes);
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      const Words x = broadcast_word(rows + 2 * r);
      MOIETY_UNROLL
      for (int i = 0; i < kVectors; i++) total[r][i] = dot(total[r][i], weights[i], x);
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
