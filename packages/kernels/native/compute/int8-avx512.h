// int8.h at the AVX-512 level (F, BW, VL, DQ), but for what sums are and how they grow: int8-avx512*.cpp.
#pragma once
#include "int8-x86.h"

namespace moiety {
namespace {

struct Floats {
  static constexpr int kLanes = 16;
  __m512 v;
};
struct Bytes {
  __m512i v;
};
struct Sums {
  __m512i v;
};

// Measured: on Zen 4 one or two rows read one panel at the memory's speed, and several more slowly; on Ice Lake four are as fast as it.
constexpr int kRowPanels[] = {1, 1, 2, 2, 2};
constexpr int kStreams = 4;
constexpr int kTileRows = 4;
constexpr int kTilePanels = 3;

inline Floats zero_floats() { return {_mm512_setzero_ps()}; }
inline Floats broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, Floats a) { _mm512_storeu_ps(p, a.v); }
inline Floats mul(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }

inline Bytes load_bytes(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store_bytes(uint8_t* p, Bytes a) { _mm512_storeu_si512(p, a.v); }
inline void keep(Bytes& a) { asm("" : "+v"(a.v)); }
inline Bytes broadcast_word(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {_mm512_set1_epi32(word)};
}

inline void unpack(const uint8_t* packed, Bytes& even, Bytes& odd) {
  const __m512i table = _mm512_broadcast_i32x4(offset_codes());
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i pairs = _mm512_loadu_si512(packed);
  even = {_mm512_shuffle_epi8(table, _mm512_and_si512(pairs, nibble))};
  odd = {_mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(pairs, 4), nibble))};
}

inline Sums start(int32_t correction) { return {_mm512_set1_epi32(correction)}; }

// The exponent of scale 0 would be zero: it is subnormal.
inline Floats load_scales(const uint8_t* p) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return {_mm512_castsi512_ps(_mm512_max_epi32(_mm512_slli_epi32(bytes, 23), _mm512_set1_epi32(0x00400000)))};
}

}  // namespace
}  // namespace moiety
