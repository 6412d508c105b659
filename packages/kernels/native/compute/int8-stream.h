// Few rows times panels whose codes come straight from memory. Included by int8-simd.h alone.
#pragma once
#include "int8-block.h"

namespace moiety {
namespace {

constexpr int64_t kMostStreamed = sizeof kRowPanels / sizeof kRowPanels[0];

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
    multiply_block<kRows, kVectors>(PackedBlock<kPanels>{panels, b}, x, blocks, b, total);
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    alignas(64) float totals[kVectors * kLanes];
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) store(totals + v * kLanes, total[r][v]);
    finish.write(totals, y.data + r * y.stride);
  }
}

// As many panels of a cut from `panel` on as go kPanels at a time; returns the next one.
template <int kRows, int kPanels>
int64_t stream_side_by_side(const Int8Linear& w, const Int8Rows& x, Rows y, int64_t panel, const PanelCut& cut) {
  for (; panel + kPanels <= cut.last; panel += kPanels) {
    stream_panels<kRows, kPanels>(w, x, y, panel, Finish<kPanels>(w, panel, cut.begin, cut.end, cut.round));
  }
  return panel;
}

// All rows, as few as they are, through all panels of a cut.
template <int kRows>
void stream_rows(const Int8Linear& w, const Int8Rows& x, Rows y, const PanelCut& cut) {
  if constexpr (kRows > 1) {
    if (x.count < kRows) return stream_rows<kRows - 1>(w, x, y, cut);
  }
  int64_t panel = cut.panel;
  if constexpr (kRows <= 2 && kStreams > 1) {
    if (reads_side_by_side) panel = stream_side_by_side<kRows, kStreams>(w, x, y, panel, cut);
  }
  panel = stream_side_by_side<kRows, kRowPanels[kRows - 1]>(w, x, y, panel, cut);
  stream_side_by_side<kRows, 1>(w, x, y, panel, cut);
}

}  // namespace
}  // namespace moiety
