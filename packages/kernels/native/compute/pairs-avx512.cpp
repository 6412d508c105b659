// pairs.h at the AVX-512 level without BF16: a pair is two multiply-adds of f32.
#include "pairs.h"

#if defined(__x86_64__)
#include "pairs-avx512.h"

namespace moiety {
namespace {

constexpr int kPairVectors[] = {4, 4, 4, 4, 4, 4};
constexpr int kPairStreams[] = {4, 2};

inline Vec odd_of(const uint8_t* p) { return from_bits(_mm512_and_si512(load_words(p), _mm512_set1_epi32(static_cast<int>(0xffff0000)))); }
inline Vec even_of(const uint8_t* p) { return from_bits(_mm512_slli_epi32(load_words(p), 16)); }
inline void keep(Vec& a) { asm("" : "+v"(a.v)); }

}  // namespace
}  // namespace moiety

#include "pairs-by-fma.h"
#include "pairs-simd.h"

namespace moiety {
const PairKernels avx512_pairs = pair_table("avx512-plain");
}  // namespace moiety

#endif
