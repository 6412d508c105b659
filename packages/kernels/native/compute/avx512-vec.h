// The AVX-512 level (F, BW, VL, DQ): a step of 16 lanes is one vector.
#pragma once
#include <immintrin.h>

#include "avx-sums.h"

namespace moiety {
namespace {

struct Vec {
  static constexpr int kLanes = 16;
  __m512 v;
};

constexpr int kTileRows = 6;
constexpr int kTileOuts = 4;
constexpr int kScoreHeads = 8;

inline __m512i bits(Vec a) { return _mm512_castps_si512(a.v); }
inline Vec from_bits(__m512i a) { return {_mm512_castsi512_ps(a)}; }

inline Vec zero() { return {_mm512_setzero_ps()}; }
inline Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }

inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
// These instructions return their second operand when either is NaN.
inline Vec larger(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec smaller(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec minus_abs(Vec a) { return {_mm512_or_ps(a.v, _mm512_set1_ps(-0.0f))}; }
inline Vec negate(Vec a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
inline Vec select_negative(Vec x, Vec a, Vec b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, _mm512_setzero_ps(), _CMP_LT_OQ), b.v, a.v)};
}

inline Vec load_bf16(const uint8_t* p) {
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return from_bits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}

inline Vec round_to_bf16(Vec a) {
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits(a), 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits(a), _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const Vec cut = from_bits(_mm512_and_si512(up, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
  const Vec nan = from_bits(_mm512_set1_epi32(0x7fc00000));
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), cut.v, nan.v)};
}

inline void store_bf16(uint8_t* p, Vec a) {
  const __m256i packed = _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits(round_to_bf16(a)), 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
}

// p * 2^n in two halves; `shifted` is n + 1.5 * 2^23 as a float.
inline Vec times_power_of_two(Vec p, Vec shifted) {
  const __m512i n = _mm512_sub_epi32(bits(shifted), bits(broadcast(12582912.0f)));
  const __m512i half = _mm512_srai_epi32(n, 1);
  const __m512i bias = _mm512_set1_epi32(127);
  const Vec first = from_bits(_mm512_slli_epi32(_mm512_add_epi32(half, bias), 23));
  const Vec second = from_bits(_mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(n, half), bias), 23));
  return mul(mul(p, first), second);
}

inline void load_pairs(const float* p, Vec& even, Vec& odd) {
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odds = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  const Vec low = load(p), high = load(p + 16);
  even = {_mm512_permutex2var_ps(low.v, evens, high.v)};
  odd = {_mm512_permutex2var_ps(low.v, odds, high.v)};
}

// 2^(scale - 127), subnormal for scale 0.
inline Vec power_of_scale(uint8_t scale) {
  return from_bits(_mm512_set1_epi32(scale == 0 ? 0x00400000 : static_cast<int>(scale) << 23));
}

// The 16 codes times the scale are one register, in which each nibble looks up its value.
inline void load_mxfp4(const uint8_t* block, uint8_t scale, Vec* out) {
  const __m512 codes = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f,  //
                                      -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
  const __m512 values = _mm512_mul_ps(codes, power_of_scale(scale).v);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
  const __m128i mask = _mm_set1_epi8(15);
  const __m128i even = _mm_and_si128(bytes, mask);
  const __m128i odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), mask);
  const __m512i first = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd));
  const __m512i second = _mm512_cvtepu8_epi32(_mm_unpackhi_epi8(even, odd));
  out[0] = {_mm512_permutexvar_ps(first, values)};
  out[1] = {_mm512_permutexvar_ps(second, values)};
}

// Lanes i + lanes i + 8.
inline __m256 halves_added(Vec a) {
  return _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
}

inline float sum_of_lanes(const Vec* parts) { return sum_of_eight(halves_added(parts[0])); }

inline void sum_of_lanes_four(const Vec* a, const Vec* b, const Vec* c, const Vec* d, float* sums) {
  sum_of_eight_four(halves_added(*a), halves_added(*b), halves_added(*c), halves_added(*d), sums);
}

}  // namespace
}  // namespace moiety
