// Packs MXFP4 weights for int8.h: words of 4 bytes change places, nothing else.
#include <cstring>

#include "int8.h"

namespace moiety {
namespace {

constexpr int64_t kBlockBytes = kInt8Block / 2;

// One panel whose 16 outputs all exist.
void pack_whole(const Mxfp4Linear& w, int64_t first, uint8_t* codes, uint8_t* scales) {
  const int64_t blocks = int8_blocks(w.in);
  const uint8_t* from = w.blocks + first * blocks * kBlockBytes;
  for (int64_t b = 0; b < blocks; b++) {
    uint32_t words[4][kInt8Panel];
    for (int64_t o = 0; o < kInt8Panel; o++) {
      uint32_t group[4];
      std::memcpy(group, from + (o * blocks + b) * kBlockBytes, sizeof group);
      for (int u = 0; u < 4; u++) words[u][o] = group[u];
    }
    std::memcpy(codes + b * kInt8Panel * kBlockBytes, words, sizeof words);
  }
  for (int64_t b = 0; b < blocks; b++) {
    for (int64_t o = 0; o < kInt8Panel; o++) scales[b * kInt8Panel + o] = w.scales[(first + o) * blocks + b];
  }
}

// The last panel, when it is not full.
void pack_partial(const Mxfp4Linear& w, int64_t first, uint8_t* codes, uint8_t* scales) {
  const int64_t blocks = int8_blocks(w.in);
  const int64_t outs = w.out - first;
  std::memset(codes, 0, static_cast<size_t>(blocks * kInt8Panel * kBlockBytes));
  std::memset(scales, 0, static_cast<size_t>(blocks * kInt8Panel));
  for (int64_t o = 0; o < outs; o++) {
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t group = (first + o) * blocks + b;
      for (int64_t u = 0; u < 4; u++) {
        std::memcpy(codes + (b * 4 + u) * kInt8Panel * 4 + o * 4, w.blocks + group * kBlockBytes + u * 4, 4);
      }
      scales[b * kInt8Panel + o] = w.scales[group];
    }
  }
}

}  // namespace

void pack_int8(const Mxfp4Linear& w, int64_t begin, int64_t end, uint8_t* codes, uint8_t* scales) {
  const int64_t blocks = int8_blocks(w.in);
  for (int64_t panel = begin; panel < end; panel++) {
    const int64_t first = panel * kInt8Panel;
    const auto pack = first + kInt8Panel <= w.out ? pack_whole : pack_partial;
    pack(w, first, codes + panel * blocks * kInt8Panel * kBlockBytes, scales + panel * blocks * kInt8Panel);
  }
}

}  // namespace moiety
