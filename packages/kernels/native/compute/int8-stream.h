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

// All rows, as few as they are, through all panels of a cut.
template <int kRows>
void stream_rows(const Int8Linear& w, const Int8Rows& x, Rows y, const PanelCut& cut) {
  if constexpr (kRows > 1) {
    if (x.count < kRows) return stream_rows<kRows - 1>(w, x, y, cut);
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

}  // namespace
}  // namespace moiety
