// A pair as two multiply-adds of f32, the odd element first, for levels without an instruction for it. Included after a level has
// defined kPairVectors, keep, and odd_of and even_of, which give the elements of each of Vec::kLanes words as floats.
#pragma once
#include <cstring>

#include "pairs.h"

namespace moiety {
namespace {

constexpr int64_t kMostPairRows = sizeof kPairVectors / sizeof kPairVectors[0];
constexpr int kFactors = 2;
constexpr int64_t kPartPairs = 64;  // of a panel: 16 KiB of words, which stay in the first-level cache for all groups of rows

using Factors = Vec;

template <int kFactor>
inline Vec load_factors(const uint8_t* p) {
  return kFactor == 0 ? odd_of(p) : even_of(p);
}
inline Vec multiply_add(Vec total, Vec weights, Vec activations) { return fma(weights, activations, total); }

// Rows as floats.
class RowPart {
 public:
  RowPart(Bf16Rows rows, int64_t first, int64_t pairs) {
    for (int64_t r = 0; r < rows.count; r++) {
      const uint16_t* const row = rows.data + r * rows.stride + 2 * first;
      int64_t p = 0;
      for (; p + Vec::kLanes <= pairs; p += Vec::kLanes) {
        const auto* const words = reinterpret_cast<const uint8_t*>(row + 2 * p);
        store(&floats_[r][0][p], odd_of(words));
        store(&floats_[r][1][p], even_of(words));
      }
      for (; p < pairs; p++) {
        for (int factor = 0; factor < 2; factor++) {
          const uint32_t bits = uint32_t{row[2 * p + 1 - factor]} << 16;
          std::memcpy(&floats_[r][factor][p], &bits, 4);
        }
      }
    }
  }
  template <int kFactor>
  Vec broadcast(int row, int64_t pair) const {
    return moiety::broadcast(floats_[row][kFactor][pair]);
  }

 private:
  alignas(64) float floats_[kMostPairRows][kFactors][kPartPairs];
};

}  // namespace
}  // namespace moiety
