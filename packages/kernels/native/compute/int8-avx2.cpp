// int8.h at the AVX2 level. A block's sums are held in 16-bit halves, two per output: each sums 16 products of at most
// 12 * 127, and so fits, whatever wraps around on the way because of the weights' offset.
#include "int8.h"

#if defined(__x86_64__)
#include "int8-x86.h"

namespace moiety {
namespace {

struct Floats {
  static constexpr int kLanes = 8;
  __m256 v;
};
struct Bytes {
  __m256i v;
};
struct Sums {
  __m256i v;
};

constexpr int kRowPanels[] = {2, 1, 1, 1};
constexpr int kStreams = 2;
constexpr int kTileRows = 4;
constexpr int kTilePanels = 1;

inline __m256i load_256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

inline Floats zero_floats() { return {_mm256_setzero_ps()}; }
inline Floats broadcast(float x) { return {_mm256_set1_ps(x)}; }
inline Floats load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, Floats a) { _mm256_storeu_ps(p, a.v); }
inline Floats mul(Floats a, Floats b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }

inline Bytes load_bytes(const uint8_t* p) { return {load_256(p)}; }
inline void store_bytes(uint8_t* p, Bytes a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v); }
inline void keep(Bytes& a) { asm("" : "+x"(a.v)); }
inline Bytes broadcast_word(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {_mm256_set1_epi32(word)};
}

inline void unpack(const uint8_t* packed, Bytes& even, Bytes& odd) {
  const __m256i table = _mm256_broadcastsi128_si256(offset_codes());
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i pairs = load_256(packed);
  even = {_mm256_shuffle_epi8(table, _mm256_and_si256(pairs, nibble))};
  odd = {_mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(pairs, 4), nibble))};
}

inline Sums start(int32_t correction) { return {_mm256_set1_epi32(correction)}; }
// The empty statement keeps g++ from adding up products first, for which there are not enough registers.
inline Sums multiply_add(Sums s, Bytes weights, Bytes activations) {
  __m256i sum = _mm256_add_epi16(s.v, _mm256_maddubs_epi16(weights.v, activations.v));
  asm("" : "+x"(sum));
  return {sum};
}
inline Floats to_floats(Sums s) {
  return {_mm256_cvtepi32_ps(_mm256_madd_epi16(s.v, _mm256_set1_epi16(1)))};
}

// The exponent of scale 0 would be zero: it is subnormal.
inline Floats load_scales(const uint8_t* p) {
  const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return {_mm256_castsi256_ps(_mm256_max_epi32(_mm256_slli_epi32(bytes, 23), _mm256_set1_epi32(0x00400000)))};
}

inline void quantise_block(const float* x, int8_t* values, float* scale, int32_t* correction) {
  quantise_block_in_halves(x, values, scale, correction);
}

}  // namespace
}  // namespace moiety

#include "int8-simd.h"

namespace moiety {
const Int8Kernels avx2_int8 = int8_table("avx2");
}  // namespace moiety

#endif
