// int8.h at the NEON level without dot products: a block's sums are held in 16 bits per word's byte, each of 8 products.
#include "int8.h"

#if defined(__aarch64__)
#include "int8-neon.h"

namespace moiety {
namespace {

struct Sums {
  int16x8_t low;
  int16x8_t high;
};

constexpr int kRowPanels[] = {1, 1};
constexpr int kStreams = 1;
constexpr int kTileRows = 2;
constexpr int kTilePanels = 1;

inline Sums start(int32_t) { return {vdupq_n_s16(0), vdupq_n_s16(0)}; }
inline Sums multiply_add(Sums s, Bytes weights, Bytes activations) {
  return {vmlal_s8(s.low, vget_low_s8(weights.v), vget_low_s8(activations.v)),
          vmlal_high_s8(s.high, weights.v, activations.v)};
}
inline Floats to_floats(Sums s) {
  return {vcvtq_f32_s32(vpaddq_s32(vpaddlq_s16(s.low), vpaddlq_s16(s.high)))};
}

}  // namespace
}  // namespace moiety

#include "int8-simd.h"

namespace moiety {
const Int8Kernels neon_int8 = int8_table("neon-plain");
}  // namespace moiety

#endif
