// int8.h at the NEON level with dot products (ARMv8.2): sums in 32 bits, four products a step.
#include "int8.h"

#if defined(__aarch64__)
#include "int8-neon.h"

namespace moiety {
namespace {

struct Sums {
  int32x4_t v;
};

constexpr int kRowPanels[] = {1, 1, 1};
constexpr int kStreams = 1;
constexpr int kTileRows = 3;
constexpr int kTilePanels = 1;

inline Sums start(int32_t) { return {vdupq_n_s32(0)}; }
inline Sums multiply_add(Sums s, Bytes weights, Bytes activations) {
  return {vdotq_s32(s.v, weights.v, activations.v)};
}
inline Floats to_floats(Sums s) { return {vcvtq_f32_s32(s.v)}; }

}  // namespace
}  // namespace moiety

#include "int8-simd.h"

namespace moiety {
const Int8Kernels neon_dot_int8 = int8_table("neon");
}  // namespace moiety

#endif
