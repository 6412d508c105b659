// The tree of a sum over 16 lanes from its second level on, for both levels of x86-64.
#pragma once
#include <immintrin.h>

namespace moiety {
namespace {

inline float sum_of_eight(__m256 eight) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Sums of 8 lanes of each of four vectors, by the same tree.
inline void sum_of_eight_four(__m256 a, __m256 b, __m256 c, __m256 d, float* sums) {
  const __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  const __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
  const __m256d first = _mm256_unpacklo_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd));
  const __m256d second = _mm256_unpackhi_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd));
  const __m256 two = _mm256_add_ps(_mm256_castpd_ps(first), _mm256_castpd_ps(second));
  const __m256 one = _mm256_hadd_ps(two, two);  // a, c, a, c | b, d, b, d
  _mm_storeu_ps(sums, _mm_unpacklo_ps(_mm256_castps256_ps128(one), _mm256_extractf128_ps(one, 1)));
}

}  // namespace
}  // namespace moiety
