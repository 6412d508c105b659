// pairs.h at the AVX2 level: a pair is two multiply-adds of f32.
#include "pairs.h"

#if defined(__x86_64__)
#include "avx2-vec.h"
#include "pairs-x86.h"

namespace moiety {
namespace {

constexpr int kPairVectors[] = {8, 4, 2, 2, 2, 2};
constexpr int kPairStreams[] = {1};

inline __m256i load_words(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline Vec odd_of(const uint8_t* p) { return from_bits(_mm256_and_si256(load_words(p), _mm256_set1_epi32(static_cast<int>(0xffff0000)))); }
inline Vec even_of(const uint8_t* p) { return from_bits(_mm256_slli_epi32(load_words(p), 16)); }
inline void keep(Vec& a) { asm("" : "+x"(a.v)); }

}  // namespace
}  // namespace moiety

#include "pairs-by-fma.h"
#include "pairs-simd.h"

namespace moiety {
const PairKernels avx2_pairs = pair_table("avx2");
}  // namespace moiety

#endif
