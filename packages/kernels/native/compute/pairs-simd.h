// The kernel of pairs.h over vectors with one output per lane, once for all levels: groups of rows go through a part of a panel
// after the other, their totals in registers meanwhile. The first group reads a part from memory, further ones from a cache: the
// second-level cache where a part is the whole panel, else the first-level cache. How rows are grouped doesn't show: each (row, output)
// has its own total.
//
// Included by one file per level after it has defined, in moiety's unnamed namespace, what simd-math.h wants, and:
//   kPairVectors[rows - 1]: vectors of outputs that so many rows take side by side, a divisor of a panel's
//   kMostPairRows: how many rows that is at most
//   kPairStreams[rows - 1]: panels that so few rows take side by side where the CPU reads them faster so
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
constexpr int64_t kVectorBytes = 4 * Vec::kLanes;
constexpr int64_t kPanelBytes = 4 * kPairPanel;  // of one pair

// How far ahead a single group fetches, into the first-level cache.
constexpr int64_t kStreamAhead = 2048;

// Pairs of a panel that a group of rows meets, and with further panels side by side the same pairs of each. One of several groups
// fetches its share of the next part or panel into the second-level cache: of every `groups` pairs one, from `group` on.
struct PairTask {
  const uint8_t* words;  // of the first pair
  int64_t panel_bytes;
  const RowPart& rows;
  int64_t pairs;
  int64_t next;  // bytes from a pair's words to those of the next part or panel
  int64_t group;
  int64_t groups;

  // Of kVectors vectors of one panel, and then those of the next.
  template <int kVectors>
  int64_t offset(int vector) const {
    return vector / kVectors * panel_bytes + vector % kVectors * kVectorBytes;
  }
};

template <int kFactor, int kRows, int kVectors, int kAll>
inline __attribute__((always_inline)) void multiply_factors(const PairTask& task, const uint8_t* at, int64_t pair, Vec (&total)[kRows][kAll]) {
  Factors weights[kAll];
  MOIETY_UNROLL
  for (int i = 0; i < kAll; i++) {
    weights[i] = load_factors<kFactor>(at + task.offset<kVectors>(i));
    if constexpr (kRows > 1) keep(weights[i]);
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    Factors x = task.rows.broadcast<kFactor>(r, pair);
    keep(x);
    MOIETY_UNROLL
    for (int i = 0; i < kAll; i++) total[r][i] = multiply_add(total[r][i], weights[i], x);
  }
}

// totals [kRows][kPanels][64], of which the first kVectors vectors of each row and panel are added to; the weights' words of the same
// outputs are at `task.words`. For others both point further on.
template <int kRows, int kPanels, int kVectors>
__attribute__((noinline)) void multiply_pairs(const PairTask& task, float* totals) {
  constexpr int kAll = kPanels * kVectors;
  const auto totals_of = [&](int row, int i) { return totals + (row * kPanels + i / kVectors) * kPairPanel + i % kVectors * Vec::kLanes; };
  Vec total[kRows][kAll];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int i = 0; i < kAll; i++) total[r][i] = load(totals_of(r, i));
  }
  const uint8_t* at = task.words;
  int64_t until_fetch = task.group;
  for (int64_t p = 0; p < task.pairs; p++) {
    if (until_fetch == 0) {
      MOIETY_UNROLL
      for (int panel = 0; panel < kPanels; panel++) {
        MOIETY_UNROLL
        for (int64_t line = 0; line < kVectors * kVectorBytes; line += 64) {
          const uint8_t* const words = at + panel * task.panel_bytes + line;
          if (task.groups == 1) {
            __builtin_prefetch(words + kStreamAhead);
          } else {
            __builtin_prefetch(words + task.next, 0, 2);
          }
        }
      }
      until_fetch = task.groups;
    }
    until_fetch--;
    multiply_factors<0, kRows, kVectors>(task, at, p, total);
    if constexpr (kFactors > 1) multiply_factors<1, kRows, kVectors>(task, at, p, total);
    at += kPanelBytes;
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int i = 0; i < kAll; i++) store(totals_of(r, i), total[r][i]);
  }
}

// `rows` rows, at most kRows, times whole panels.
template <int kRows, int kPanels>
void multiply_panels(PairTask task, int64_t rows, float* totals) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return multiply_panels<kRows - 1, kPanels>(task, rows, totals);
  }
  constexpr int kVectors = kPairVectors[kRows - 1];
  static_assert(kPanelVectors % kVectors == 0, "a panel is taken whole");
  for (int v = 0; v < kPanelVectors; v += kVectors) {
    multiply_pairs<kRows, kPanels, kVectors>(task, totals + v * Vec::kLanes);
    task.words += kVectors * kVectorBytes;
  }
}

// From totals to those of the outputs [begin, end) that are in the panel that starts at output `first`.
class FinishPairs {
 public:
  FinishPairs(const PairLinear& w, int64_t first, int64_t begin, int64_t end, bool round)
      : first_(first), begin_(begin > first ? begin : first), end_(end < first + kPairPanel ? end : first + kPairPanel), round_(round) {
    // Adding -0 changes nothing, +0 would change -0.
    for (int64_t i = 0; i < kPairPanel; i++) bias_[i] = w.bias != nullptr && first + i < w.out ? bf16_at(w.bias, first + i) : -0.0f;
  }

  void write(float* totals, float* y) const {
    MOIETY_UNROLL
    for (int v = 0; v < kPanelVectors; v++) {
      const Vec sum = add(load(totals + v * Vec::kLanes), load(bias_ + v * Vec::kLanes));
      store(totals + v * Vec::kLanes, round_ ? round_to_bf16(sum) : sum);
    }
    std::memcpy(y + begin_, totals + begin_ - first_, static_cast<size_t>(end_ - begin_) * sizeof(float));
  }

 private:
  const int64_t first_;
  const int64_t begin_;
  const int64_t end_;
  const bool round_;
  float bias_[kPairPanel];
};

// Rows that meet a panel together: their totals lie in the second-level cache.
constexpr int64_t kMostPanelRows = 128;

// At most kRows and kMostPanelRows rows times kPanels panels from `index` on, part by part: the first group of rows reads a part from
// memory, further ones from a cache. totals [rows][kPanels][64]
template <int kRows, int kPanels>
void linear_panels(const PairLinear& w, Bf16Rows x, int64_t index, float* totals) {
  const FlushSubnormals flushing;
  const int64_t pairs = pairs_of(w.in);
  const int64_t panel_bytes = pairs * kPanelBytes;
  const int64_t groups = (x.count + kRows - 1) / kRows;
  for (int64_t p = 0; p < pairs; p += kPartPairs) {
    const int64_t some = pairs - p < kPartPairs ? pairs - p : kPartPairs;
    for (int64_t group = 0; group < groups; group++) {
      // As even as can be: a group of few rows waits for what it reads.
      const int64_t r = group * x.count / groups, rows = (group + 1) * x.count / groups - r;
      const RowPart part({x.data + r * x.stride, rows, x.stride}, p, some);
      const PairTask task{w.words + index * panel_bytes + p * kPanelBytes, panel_bytes, part, some, some * kPanelBytes, group, groups};
      multiply_panels<kRows, kPanels>(task, rows, totals + r * kPanels * kPairPanel);
    }
  }
}

// As many of the panels that hold outputs [begin, end) as go kPanels at a time, from panel `index` on; returns the next one.
template <int kRows, int kPanels>
int64_t linear_side_by_side(const PairLinear& w, Bf16Rows x, Rows y, int64_t index, int64_t begin, int64_t end, bool round) {
  for (; index + kPanels <= pair_panels(end); index += kPanels) {
    alignas(64) float totals[(kPanels == 1 ? kMostPanelRows : kRows) * kPanels * kPairPanel];
    std::memset(totals, 0, static_cast<size_t>(x.count * kPanels * kPairPanel) * sizeof totals[0]);
    linear_panels<kRows, kPanels>(w, x, index, totals);
    for (int panel = 0; panel < kPanels; panel++) {
      const FinishPairs finish(w, (index + panel) * kPairPanel, begin, end, round);
      for (int64_t r = 0; r < x.count; r++) finish.write(totals + (r * kPanels + panel) * kPairPanel, y.data + r * y.stride);
    }
  }
  return index;
}

constexpr int64_t kMostSideBySide = sizeof kPairStreams / sizeof kPairStreams[0];
static_assert(kMostSideBySide <= kMostPairRows, "a RowPart has room for them");

// `x.count` rows, at most kRows, times as many panels side by side as so many rows take.
template <int kRows>
int64_t linear_few_rows(const PairLinear& w, Bf16Rows x, Rows y, int64_t index, int64_t begin, int64_t end, bool round) {
  if constexpr (kRows > 1) {
    if (x.count < kRows) return linear_few_rows<kRows - 1>(w, x, y, index, begin, end, round);
  }
  return linear_side_by_side<kRows, kPairStreams[kRows - 1]>(w, x, y, index, begin, end, round);
}

void linear_pairs(const PairLinear& w, Bf16Rows x, Rows y, int64_t begin, int64_t end, bool round) {
  int64_t index = begin / kPairPanel;
  if (reads_side_by_side && x.count <= kMostSideBySide) index = linear_few_rows<kMostSideBySide>(w, x, y, index, begin, end, round);
  const int64_t parts = (x.count + kMostPanelRows - 1) / kMostPanelRows;
  for (int64_t part = 0; part < parts; part++) {
    const int64_t r = part * x.count / parts, rows = (part + 1) * x.count / parts - r;
    const Bf16Rows some{x.data + r * x.stride, rows, x.stride};
    linear_side_by_side<kMostPairRows, 1>(w, some, {y.data + r * y.stride, rows, y.stride}, index, begin, end, round);
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
