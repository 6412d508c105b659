// pairs.h at the AVX2 level: a pair is two multiply-adds of f32.
#include "pairs.h"

#if defined(__x86_64__)
#include "avx2-vec.h"
#include "pairs-x86.h"

namespace moiety {
namespace {

constexpr int kPairVectors[] = {8, 4, 2, 2};

struct Words {
  __m256i v;
};

inline Words load_words(const uint8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
inline Words broadcast_word(const uint16_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {_mm256_set1_epi32(word)};
}

inline Vec odd_of(Words a) { return from_bits(_mm256_and_si256(a.v, _mm256_set1_epi32(static_cast<int>(0xffff0000)))); }
inline Vec even_of(Words a) { return from_bits(_mm256_slli_epi32(a.v, 16)); }

}  // namespace
}  // namespace moiety

#include "pairs-by-fma.h"
#include "pairs-simd.h"

namespace moiety {
const PairKernels avx2_pairs = pair_table("avx2");
}  // namespace moiety

#endif
