// int8.h at the AVX-512 level without VNNI: sums in 16-bit halves, as in int8-avx2.cpp.
#include "int8.h"

#if defined(__x86_64__)
#include "int8-avx512.h"

namespace moiety {
namespace {

// The empty statement keeps g++ from adding up products first, for which there are not enough registers.
inline Sums multiply_add(Sums s, Bytes weights, Bytes activations) {
  __m512i sum = _mm512_add_epi16(s.v, _mm512_maddubs_epi16(weights.v, activations.v));
  asm("" : "+v"(sum));
  return {sum};
}
inline Floats to_floats(Sums s) {
  return {_mm512_cvtepi32_ps(_mm512_madd_epi16(s.v, _mm512_set1_epi16(1)))};
}

inline void quantise_block(const float* x, int8_t* values, float* scale, int32_t* correction) {
  quantise_block_in_halves(x, values, scale, correction);
}

}  // namespace
}  // namespace moiety

#include "int8-simd.h"

namespace moiety {
const Int8Kernels avx512_int8 = int8_table("avx512-plain");
}  // namespace moiety

#endif
