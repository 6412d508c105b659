// Many rows times panels: part by part, the first rows unpack the weights into a tile, from which the others take them. Included by
// int8-simd.h alone.
#pragma once
#include "int8-block.h"

namespace moiety {
namespace {

// Rows that a tile meets before it is filled again: their totals lie beside it.
constexpr int64_t kMostTiled = 128;

// Blocks of kTilePanels panels, unpacked once for many rows. It fits the first-level cache beside a few rows.
struct Tile {
  static constexpr int kVectors = kTilePanels * kPanelVectors;
  static constexpr int64_t kMostBlocks = 12;
  struct Block {
    uint8_t codes[kSteps][kVectors][kVectorBytes];
    float scales[kVectors][kLanes];
  };
  alignas(64) Block blocks[kMostBlocks];
};

// A block for the first rows that meet a tile: they fill it.
template <int kPanels>
struct FillingBlock {
  PackedBlock<kPanels> packed;
  Tile::Block& to;

  void weights(int vector, int unit, Bytes& even, Bytes& odd) const {
    packed.weights(vector, unit, even, odd);
    store_bytes(to.codes[2 * unit][vector], even);
    store_bytes(to.codes[2 * unit + 1][vector], odd);
  }
  Floats scales(int vector) const {
    const Floats scales = packed.scales(vector);
    store(to.scales[vector], scales);
    return scales;
  }
};

// A block for further rows.
struct FilledBlock {
  const Tile::Block& from;

  void weights(int vector, int unit, Bytes& even, Bytes& odd) const {
    even = load_bytes(from.codes[2 * unit][vector]);
    odd = load_bytes(from.codes[2 * unit + 1][vector]);
  }
  Floats scales(int vector) const { return load(from.scales[vector]); }
};

// Blocks [first, end) of some panels, as a group of rows meets them, and what is fetched meanwhile: of the blocks that come
// next every `groups`-th, from `group` on.
template <int kPanels>
struct TileTask {
  const Panels<kPanels>& panels;
  int64_t first;
  int64_t end;
  const Panels<kPanels>& next;
  int64_t next_first;
  int64_t group;
  int64_t groups;
};

// totals [kRows][kPanels * 16]
template <int kRows, int kPanels, bool kFill>
__attribute__((noinline)) void multiply_tile(const TileTask<kPanels>& task, Tile& tile, const Int8Rows& x, float* totals) {
  constexpr int kVectors = Panels<kPanels>::kVectors;
  const int64_t blocks = int8_blocks(x.in);
  Floats total[kRows][kVectors];
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) total[r][v] = load(totals + (r * kVectors + v) * kLanes);
  }
  int64_t until_fetch = task.group;
  for (int64_t b = task.first; b < task.end; b++) {
    if (until_fetch == 0) {
      task.next.prefetch(task.next_first + b - task.first);
      until_fetch = task.groups;
    }
    until_fetch--;
    Tile::Block& in_tile = tile.blocks[b - task.first];
    if constexpr (kFill) {
      multiply_block<kRows, kVectors>(FillingBlock<kPanels>{{task.panels, b}, in_tile}, x, blocks, b, total);
    } else {
      multiply_block<kRows, kVectors>(FilledBlock{in_tile}, x, blocks, b, total);
    }
  }
  MOIETY_UNROLL
  for (int r = 0; r < kRows; r++) {
    MOIETY_UNROLL
    for (int v = 0; v < kVectors; v++) store(totals + (r * kVectors + v) * kLanes, total[r][v]);
  }
}

// `x.count` rows, at most kRows.
template <int kRows, int kPanels>
void multiply_tile_rows(const TileTask<kPanels>& task, Tile& tile, const Int8Rows& x, float* totals) {
  if constexpr (kRows > 1) {
    if (x.count < kRows) return multiply_tile_rows<kRows - 1>(task, tile, x, totals);
  }
  if (task.group == 0) {
    multiply_tile<kRows, kPanels, true>(task, tile, x, totals);
  } else {
    multiply_tile<kRows, kPanels, false>(task, tile, x, totals);
  }
}

// At most kMostTiled rows times kPanels panels.
template <int kPanels>
void tile_panels(const Int8Linear& w, const Int8Rows& x, Rows y, int64_t panel, const PanelCut& cut) {
  constexpr int64_t kOuts = kPanels * kInt8Panel;
  const Panels<kPanels> panels(w, panel), next(w, panel + kPanels);
  const int64_t blocks = int8_blocks(w.in);
  const int64_t parts = (blocks + Tile::kMostBlocks - 1) / Tile::kMostBlocks;
  const int64_t groups = (x.count + kTileRows - 1) / kTileRows;
  Tile tile;
  alignas(64) float totals[kMostTiled * kOuts];
  std::memset(totals, 0, static_cast<size_t>(x.count * kOuts) * sizeof totals[0]);
  for (int64_t part = 0; part < parts; part++) {
    const bool last = part + 1 == parts;
    const int64_t first = part * blocks / parts, end = (part + 1) * blocks / parts;
    for (int64_t group = 0; group < groups; group++) {
      // As even as can be.
      const int64_t r = group * x.count / groups, rows = (group + 1) * x.count / groups - r;
      const TileTask<kPanels> task{panels, first, end, last ? next : panels, last ? 0 : end, group, groups};
      multiply_tile_rows<kTileRows>(task, tile, some_rows(x, r, rows), totals + r * kOuts);
    }
  }
  const Finish<kPanels> finish(w, panel, cut.begin, cut.end, cut.round);
  for (int64_t r = 0; r < x.count; r++) finish.write(totals + r * kOuts, y.data + r * y.stride);
}

// As tile_panels, for the next panels of a cut: kPanels, or fewer where so many are not left or would leave a single one. Returns
// how many.
template <int kPanels>
int64_t tile_next_panels(const Int8Linear& w, const Int8Rows& x, Rows y, int64_t panel, const PanelCut& cut) {
  if constexpr (kPanels > 1) {
    const int64_t left = cut.last - panel;
    if (left < kPanels || (kPanels > 2 && left == kPanels + 1)) return tile_next_panels<kPanels - 1>(w, x, y, panel, cut);
  }
  tile_panels<kPanels>(w, x, y, panel, cut);
  return kPanels;
}

// At most kMostTiled rows times all panels of a cut.
inline void tile_rows(const Int8Linear& w, const Int8Rows& x, Rows y, const PanelCut& cut) {
  for (int64_t panel = cut.panel; panel < cut.last;) panel += tile_next_panels<kTilePanels>(w, x, y, panel, cut);
}

}  // namespace
}  // namespace moiety
