// Packs bf16 weights for pairs.h: words of two elements change places, nothing else.
#include <cstring>

#include "pairs.h"

namespace moiety {
namespace {

constexpr int64_t kTilePairs = 16;  // a cache line of a row

// Pairs [from, to) of outputs first .. first + outs - 1.
void pack_tile(const Bf16Linear& w, int64_t first, int64_t outs, int64_t from, int64_t to, uint8_t* panel) {
  for (int64_t o = 0; o < outs; o++) {
    const uint8_t* const row = w.weight + (first + o) * w.in * 2;
    for (int64_t p = from; p < to; p++) std::memcpy(panel + (p * kPairPanel + o) * 4, row + 4 * p, 4);
  }
}

}  // namespace

void pack_pairs(const Bf16Linear& w, int64_t begin, int64_t end, uint8_t* words) {
  const int64_t whole = w.in / 2;
  for (int64_t index = begin; index < end; index++) {
    const int64_t first = index * kPairPanel;
    const int64_t outs = w.out - first < kPairPanel ? w.out - first : kPairPanel;
    uint8_t* const panel = words + index * kPairPanel * pairs_of(w.in) * 4;
    if (outs < kPairPanel || w.in % 2 != 0) std::memset(panel, 0, static_cast<size_t>(kPairPanel * pairs_of(w.in) * 4));
    for (int64_t p = 0; p < whole; p += kTilePairs) {
      pack_tile(w, first, outs, p, whole - p < kTilePairs ? whole : p + kTilePairs, panel);
    }
    for (int64_t o = 0; w.in % 2 != 0 && o < outs; o++) {
      std::memcpy(panel + (whole * kPairPanel + o) * 4, w.weight + ((first + o) * w.in + 2 * whole) * 2, 2);
    }
  }
}

}  // namespace moiety
