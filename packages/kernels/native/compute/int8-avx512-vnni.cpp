// int8.h at the AVX-512 level with VNNI: sums in 32 bits, four products a step.
#include "int8.h"

#if defined(__x86_64__)
#include "int8-avx512.h"

namespace moiety {
namespace {

inline Sums multiply_add(Sums s, Bytes weights, Bytes activations) {
  return {_mm512_dpbusd_epi32(s.v, weights.v, activations.v)};
}
inline Floats to_floats(Sums s) { return {_mm512_cvtepi32_ps(s.v)}; }

inline void quantise_block(const float* x, int8_t* values, float* scale, int32_t* correction) {
  int32_t halves;
  quantise_block_in_halves(x, values, scale, &halves);
  *correction = static_cast<int16_t>(halves & 0xffff) + (halves >> 16);
}

}  // namespace
}  // namespace moiety

#include "int8-simd.h"

namespace moiety {
const Int8Kernels avx512_vnni_int8 = int8_table("avx512");
}  // namespace moiety

#endif
