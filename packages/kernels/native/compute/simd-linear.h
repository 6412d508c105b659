// y = W x + b over weights that stay packed in memory. Few rows: weights go from memory through registers to every row.
// Many rows: a panel of weights is unpacked to f32 once and multiplied with all rows in register tiles.
// Neither choice shows in the results: each (row, output) has its own 16 lanes and takes its products in ascending k.
#pragma once
#include "simd-math.h"

namespace moiety {
namespace {

// A matrix as the kernels below see it: kSteps steps of row o from element k on, and the rest that does not fill one.
// kOuts: outputs taken side by side when 1, 2, 3 or 4 rows stream (measured: enough chains, few enough registers).
struct Bf16Weights {
  static constexpr int kSteps = 1;
  static constexpr int kOuts[] = {4, 3, 2, 2};
  const Bf16Linear& w;

  const uint8_t* row(int64_t o) const { return w.weight + o * w.in * 2; }
  const uint8_t* at(int64_t o, int64_t k) const { return row(o) + 2 * k; }
  void steps(int64_t o, int64_t k, Step* out) const { out[0] = load_step_bf16(at(o, k)); }
  Step rest(int64_t o, int64_t k) const { return load_first_bf16(at(o, k), w.in - k); }
};

struct Mxfp4Weights {
  static constexpr int kSteps = 2;
  static constexpr int kOuts[] = {3, 1, 1, 1};
  const Mxfp4Linear& w;

  const uint8_t* row(int64_t o) const { return w.blocks + o * (w.in / 2); }
  const uint8_t* at(int64_t o, int64_t k) const { return row(o) + k / 2; }
  void steps(int64_t o, int64_t k, Step* out) const {
    Vec parts[kSteps * kParts];
    load_mxfp4(at(o, k), w.scales[o * (w.in / 32) + k / 32], parts);
    MOIETY_UNROLL
    for (int s = 0; s < kSteps; s++) {
      for (int p = 0; p < kParts; p++) out[s].part[p] = parts[s * kParts + p];
    }
  }
  Step rest(int64_t, int64_t) const { return zero_step(); }  // whole groups only
};

template <typename Weights>
inline void finish(const Weights& weights, float sum, int64_t o, float* y, bool round) {
  if (weights.w.bias != nullptr) sum = sum + bf16_at(weights.w.bias, o);
  y[o] = rounded(sum, round);
}

// kRows rows times kOuts outputs from o on, weights straight from memory.
template <int kRows, int kOuts, typename Weights>
void stream_tile(const Weights& weights, ConstRows x, Rows y, int64_t o, bool round) {
  constexpr int kSteps = Weights::kSteps;
  const int64_t in = weights.w.in;
  const float* rows[kRows];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) rows[r] = x.data + r * x.stride;
  Step total[kRows][kOuts];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int j = 0; j < kOuts; j++) total[r][j] = zero_step();
  }
  int64_t k = 0;
  for (; k + kSteps * kStep <= in; k += kSteps * kStep) {
    MOIETY_UNROLL
    for (int j = 0; j < kOuts; j++) {
      __builtin_prefetch(weights.at(o + kOuts + j, k));
      Step w[kSteps];
      weights.steps(o + j, k, w);
      MOIETY_UNROLL
      for (int s = 0; s < kSteps; s++) {
        MOIETY_UNROLL
        for (int r = 0; r < kRows; r++) total[r][j] = fma(w[s], load_step(rows[r] + k + s * kStep), total[r][j]);
      }
    }
  }
  if (k < in) {
    MOIETY_UNROLL
    for (int j = 0; j < kOuts; j++) {
      const Step w = weights.rest(o + j, k);
      MOIETY_UNROLL
      for (int r = 0; r < kRows; r++) total[r][j] = fma(w, load_first(rows[r] + k, in - k), total[r][j]);
    }
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int j = 0; j < kOuts; j++) {
      finish(weights, sum_of_step(total[r][j]), o + j, y.data + r * y.stride, round);
    }
  }
}

template <int kRows, typename Weights>
void stream_rows(const Weights& weights, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
  constexpr int kOuts = Weights::kOuts[kRows - 1];
  int64_t o = begin;
  for (; o + kOuts <= end; o += kOuts) stream_tile<kRows, kOuts>(weights, x, y, o, round);
  for (; o < end; o++) stream_tile<kRows, 1>(weights, x, y, o, round);
}

constexpr int64_t kStreamedRows = 4;

template <typename Weights>
void stream(const Weights& weights, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
  switch (x.count) {
    case 1: return stream_rows<1>(weights, x, y, begin, end, round);
    case 2: return stream_rows<2>(weights, x, y, begin, end, round);
    case 3: return stream_rows<3>(weights, x, y, begin, end, round);
    case 4: return stream_rows<4>(weights, x, y, begin, end, round);
  }
}

constexpr int64_t kPanelRows = 64;
constexpr int64_t kPanelOuts = 4 * kTileOuts;  // a multiple of 4: sum_four takes four totals
constexpr int64_t kPanelDepth = 320;

// One thread's working set: the weights stay in the first-level cache beside kTileRows rows, the totals in the second.
struct Panel {
  alignas(64) float weights[kPanelOuts][kPanelDepth];
  alignas(64) float totals[kPanelRows * kPanelOuts * kStep];
};

Panel& thread_panel() {
  static thread_local Panel panel;
  return panel;
}

// Adds `steps` steps of a tile of kRows rows x kOuts outputs. Parts of a step are taken one after the other (the lanes
// of a total never meet before the tree), which leaves more registers for the tile.
template <int kRows, int kOuts>
void multiply_tile(const float* x, int64_t stride, const float (*w)[kPanelDepth], int64_t steps, float* totals) {
  constexpr int64_t kNextRow = kPanelOuts * kStep;
  for (int p = 0; p < kParts; p++) {
    const int lane = p * Vec::kLanes;
    Vec total[kRows][kOuts];
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      MOIETY_UNROLL
      for (int j = 0; j < kOuts; j++) total[r][j] = load(totals + r * kNextRow + j * kStep + lane);
    }
    for (int64_t k = lane; k < steps * kStep; k += kStep) {
      Vec weight[kOuts];
      MOIETY_UNROLL
      for (int j = 0; j < kOuts; j++) weight[j] = load(&w[j][k]);
      MOIETY_UNROLL
      for (int r = 0; r < kRows; r++) {
        const Vec value = load(x + r * stride + k);
        MOIETY_UNROLL
        for (int j = 0; j < kOuts; j++) total[r][j] = fma(weight[j], value, total[r][j]);
      }
    }
    MOIETY_UNROLL
    for (int r = 0; r < kRows; r++) {
      MOIETY_UNROLL
      for (int j = 0; j < kOuts; j++) store(totals + r * kNextRow + j * kStep + lane, total[r][j]);
    }
  }
}

// kRows rows from r on against `outs` outputs of the panel.
template <int kRows>
inline void multiply_rows(Panel& panel, ConstRows x, int64_t k, int64_t steps, int64_t r, int64_t outs) {
  const float* rows = x.data + r * x.stride + k;
  float* totals = &panel.totals[r * kPanelOuts * kStep];
  int64_t j = 0;
  for (; j + kTileOuts <= outs; j += kTileOuts) {
    multiply_tile<kRows, kTileOuts>(rows, x.stride, panel.weights + j, steps, totals + j * kStep);
  }
  for (; j < outs; j++) multiply_tile<kRows, 1>(rows, x.stride, panel.weights + j, steps, totals + j * kStep);
}

template <typename Weights>
void unpack(const Weights& weights, int64_t o, int64_t k, int64_t steps, float* out) {
  for (int64_t s = 0; s + Weights::kSteps <= steps; s += Weights::kSteps) {
    Step w[Weights::kSteps];
    weights.steps(o, k + s * kStep, w);
    for (int i = 0; i < Weights::kSteps; i++) store_step(out + (s + i) * kStep, w[i]);
  }
}

// The last, incomplete step.
template <typename Weights>
void add_rest(const Weights& weights, Panel& panel, ConstRows x, int64_t o, int64_t outs, int64_t k) {
  for (int64_t j = 0; j < outs; j++) {
    const Step w = weights.rest(o + j, k);
    for (int64_t r = 0; r < x.count; r++) {
      float* total = &panel.totals[(r * kPanelOuts + j) * kStep];
      store_step(total, fma(w, load_first(x.data + r * x.stride + k, weights.w.in - k), load_step(total)));
    }
  }
}

// At most kPanelRows rows times at most kPanelOuts outputs.
template <typename Weights>
void multiply_panel(const Weights& weights, ConstRows x, Rows y, int64_t o, int64_t outs, bool round) {
  Panel& panel = thread_panel();
  const int64_t in = weights.w.in;
  const int64_t whole = in / kStep * kStep;
  std::memset(panel.totals, 0, static_cast<size_t>(x.count * kPanelOuts * kStep) * 4);
  for (int64_t k = 0; k < whole; k += kPanelDepth) {
    const int64_t steps = (whole - k < kPanelDepth ? whole - k : kPanelDepth) / kStep;
    for (int64_t j = 0; j < outs; j++) unpack(weights, o + j, k, steps, panel.weights[j]);
    int64_t r = 0;
    for (; r + kTileRows <= x.count; r += kTileRows) multiply_rows<kTileRows>(panel, x, k, steps, r, outs);
    for (; r + 2 <= x.count; r += 2) multiply_rows<2>(panel, x, k, steps, r, outs);
    for (; r < x.count; r++) multiply_rows<1>(panel, x, k, steps, r, outs);
  }
  if (whole < in) add_rest(weights, panel, x, o, outs, whole);
  for (int64_t r = 0; r < x.count; r++) {
    float* totals = &panel.totals[r * kPanelOuts * kStep];
    float sums[kPanelOuts];
    for (int64_t j = 0; j < outs; j += 4) {
      sum_four(load_step(totals + j * kStep), load_step(totals + (j + 1) * kStep), load_step(totals + (j + 2) * kStep),
               load_step(totals + (j + 3) * kStep), sums + j);
    }
    for (int64_t j = 0; j < outs; j++) finish(weights, sums[j], o + j, y.data + r * y.stride, round);
  }
}

template <typename Weights>
void linear(const Weights& weights, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
  if (x.count <= kStreamedRows) return stream(weights, x, y, begin, end, round);
  for (int64_t r = 0; r < x.count; r += kPanelRows) {
    const int64_t rows = x.count - r < kPanelRows ? x.count - r : kPanelRows;
    const ConstRows some_x = {x.data + r * x.stride, rows, x.stride};
    const Rows some_y = {y.data + r * y.stride, rows, y.stride};
    for (int64_t o = begin; o < end; o += kPanelOuts) {
      const int64_t outs = end - o < kPanelOuts ? end - o : kPanelOuts;
      multiply_panel(weights, some_x, some_y, o, outs, round);
    }
  }
}

void linear_bf16(const Bf16Linear& w, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
  linear(Bf16Weights{w}, x, y, begin, end, round);
}

void linear_mxfp4(const Mxfp4Linear& w, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
  linear(Mxfp4Weights{w}, x, y, begin, end, round);
}

}  // namespace
}  // namespace moiety
