// What the x86-64 levels of int8.h share: quantising, by AVX2. Weights are offset by 12, so that they are unsigned as
// the multiplying instructions want it; a block's sum starts at -12 times the sum of its activations to make up for it.
#pragma once
#include <immintrin.h>

#include "int8.h"

namespace moiety {
namespace {

constexpr int16_t kOffset = 12;

// The doubled codes plus the offset, for a byte shuffle.
inline __m128i offset_codes() { return _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0); }

// The correction as two 16-bit halves: of the first two bytes of every word, and of the other two.
inline void quantise_block_in_halves(const float* x, int8_t* values, float* scale, int32_t* correction) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256 parts[4];
  __m256i most = _mm256_setzero_si256();
  for (int i = 0; i < 4; i++) {
    parts[i] = _mm256_loadu_ps(x + 8 * i);
    // As integers, magnitudes are in order, with infinities and NaN behind all numbers.
    most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(parts[i]), magnitude));
  }
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(four));
  if (!(largest >= kInt8Tiny && largest < __builtin_inff())) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), _mm256_setzero_si256());
    *scale = largest < kInt8Tiny ? 0 : __builtin_nanf("");
    *correction = 0;
    return;
  }
  *scale = largest / 254.0f;
  const __m256 factor = _mm256_set1_ps(127.0f / largest);
  __m256i words[4];
  for (int i = 0; i < 4; i++) words[i] = _mm256_cvtps_epi32(_mm256_mul_ps(parts[i], factor));
  const __m256i pairs =
      _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]), _mm256_packs_epi32(words[2], words[3]));
  const __m256i in_order = _mm256_permutevar8x32_epi32(pairs, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  const __m256i evens_first = _mm256_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15,  //
                                               0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  const __m256i placed = _mm256_shuffle_epi8(in_order, evens_first);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), placed);
  const __m256i halves = _mm256_maddubs_epi16(_mm256_set1_epi8(1), placed);
  __m128i sums = _mm_add_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
  sums = _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0x4e));
  sums = _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0xb1));
  *correction = _mm_cvtsi128_si32(_mm_mullo_epi16(sums, _mm_set1_epi16(-kOffset)));
}

}  // namespace
}  // namespace moiety
