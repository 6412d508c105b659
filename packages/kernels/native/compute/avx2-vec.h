// The AVX2 level: a step of 16 lanes is two vectors of 8. Also wants FMA.
#pragma once
#include <immintrin.h>

#include "avx-sums.h"
#include "mxfp4-table.h"

namespace moiety {
namespace {

struct Vec {
  static constexpr int kLanes = 8;
  __m256 v;
};

constexpr int kTileRows = 4;
constexpr int kTileOuts = 3;
constexpr int kScoreHeads = 4;

inline __m256i bits(Vec a) { return _mm256_castps_si256(a.v); }
inline Vec from_bits(__m256i a) { return {_mm256_castsi256_ps(a)}; }
inline __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

inline Vec zero() { return {_mm256_setzero_ps()}; }
inline Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }

inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
// These instructions return their second operand when either is NaN.
inline Vec larger(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec smaller(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec minus_abs(Vec a) { return {_mm256_or_ps(a.v, _mm256_set1_ps(-0.0f))}; }
inline Vec negate(Vec a) { return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))}; }
inline Vec select_negative(Vec x, Vec a, Vec b) {
  return {_mm256_blendv_ps(b.v, a.v, _mm256_cmp_ps(x.v, _mm256_setzero_ps(), _CMP_LT_OQ))};
}

inline Vec load_bf16(const uint8_t* p) { return from_bits(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(p)), 16)); }

inline Vec round_to_bf16(Vec a) {
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits(a), 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits(a), _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const Vec cut = from_bits(_mm256_and_si256(up, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
  const Vec nan = from_bits(_mm256_set1_epi32(0x7fc00000));
  return {_mm256_blendv_ps(cut.v, nan.v, _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))};
}

inline void store_bf16(uint8_t* p, Vec a) {
  const __m256i upper = _mm256_srli_epi32(bits(round_to_bf16(a)), 16);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}

// p * 2^n in two halves; `shifted` is n + 1.5 * 2^23 as a float.
inline Vec times_power_of_two(Vec p, Vec shifted) {
  const __m256i n = _mm256_sub_epi32(bits(shifted), bits(broadcast(12582912.0f)));
  const __m256i half = _mm256_srai_epi32(n, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const Vec first = from_bits(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const Vec second = from_bits(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias), 23));
  return mul(mul(p, first), second);
}

inline void load_pairs(const float* p, Vec& even, Vec& odd) {
  const __m256 low = _mm256_loadu_ps(p);
  const __m256 high = _mm256_loadu_ps(p + 8);
  const __m256 first = _mm256_permute2f128_ps(low, high, 0x20);
  const __m256 second = _mm256_permute2f128_ps(low, high, 0x31);
  even = {_mm256_shuffle_ps(first, second, 0x88)};
  odd = {_mm256_shuffle_ps(first, second, 0xdd)};
}

// Packed bytes b(i) and b(i + 4), which hold elements 2i, 2i + 1, 2i + 8 and 2i + 9, are put into one 32-bit lane and
// spread to the nibbles of 2i, 2i + 8, 2i + 1, 2i + 9. These look up the two bytes of their values, which unpacking
// (within the halves of a register) then joins to pairs of bf16, elements e and e + 8 in one 32-bit lane.
inline void load_mxfp4(const uint8_t* block, uint8_t scale, Vec* out) {
  const Mxfp4Codes& codes = kMxfp4Table.scale[scale];
  const __m256i upper = _mm256_broadcastsi128_si256(load_128(codes.upper));
  const __m256i lower = _mm256_broadcastsi128_si256(load_128(codes.lower));
  const __m256i places = _mm256_setr_epi8(0, 4, -1, -1, 1, 5, -1, -1, 8, 12, -1, -1, 9, 13, -1, -1,  //
                                          2, 6, -1, -1, 3, 7, -1, -1, 10, 14, -1, -1, 11, 15, -1, -1);
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_128(block)), places);
  const __m256i nibbles =
      _mm256_and_si256(_mm256_or_si256(bytes, _mm256_slli_epi32(bytes, 12)), _mm256_set1_epi8(15));
  const __m256i high_bytes = _mm256_shuffle_epi8(upper, nibbles);
  const __m256i low_bytes = _mm256_shuffle_epi8(lower, nibbles);
  const __m256i first = _mm256_unpacklo_epi8(low_bytes, high_bytes);    // elements 0-7 and 8-15
  const __m256i second = _mm256_unpackhi_epi8(low_bytes, high_bytes);  // elements 16-23 and 24-31
  const __m256i upper_word = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  out[0] = from_bits(_mm256_slli_epi32(first, 16));
  out[1] = from_bits(_mm256_and_si256(first, upper_word));
  out[2] = from_bits(_mm256_slli_epi32(second, 16));
  out[3] = from_bits(_mm256_and_si256(second, upper_word));
}

inline float sum_of_lanes(const Vec* parts) { return sum_of_eight(_mm256_add_ps(parts[0].v, parts[1].v)); }

inline void sum_of_lanes_four(const Vec* a, const Vec* b, const Vec* c, const Vec* d, float* sums) {
  sum_of_eight_four(add(a[0], a[1]).v, add(b[0], b[1]).v, add(c[0], c[1]).v, add(d[0], d[1]).v, sums);
}

}  // namespace
}  // namespace moiety
