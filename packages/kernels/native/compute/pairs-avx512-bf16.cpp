// pairs.h at the AVX-512 level with BF16: a pair is one instruction, which flushes by itself.
#include "pairs.h"

#if defined(__x86_64__)
#include "pairs-avx512.h"

namespace moiety {
namespace {

constexpr int kPairVectors[] = {4, 4, 4, 4, 4, 4};
constexpr int kPairStreams[] = {4, 2};
constexpr int64_t kMostPairRows = sizeof kPairVectors / sizeof kPairVectors[0];
constexpr int kFactors = 1;
constexpr int64_t kPartPairs = INT64_MAX;

// As integers, which every compiler keeps in a register.
struct Factors {
  __m512i v;
};

template <int>
inline Factors load_factors(const uint8_t* p) {
  return {load_words(p)};
}
inline Vec multiply_add(Vec total, Factors weights, Factors activations) {
  return {_mm512_dpbf16_ps(total.v, reinterpret_cast<__m512bh>(weights.v), reinterpret_cast<__m512bh>(activations.v))};
}
inline void keep(Factors& a) { asm("" : "+v"(a.v)); }

// Rows as they lie.
class RowPart {
 public:
  RowPart(Bf16Rows rows, int64_t first, int64_t) : data_(rows.data + 2 * first), stride_(rows.stride) {}
  template <int>
  Factors broadcast(int row, int64_t pair) const {
    int32_t word;
    __builtin_memcpy(&word, data_ + row * stride_ + 2 * pair, 4);
    return {_mm512_set1_epi32(word)};
  }

 private:
  const uint16_t* data_;
  int64_t stride_;
};

}  // namespace
}  // namespace moiety

#include "pairs-simd.h"

namespace moiety {
const PairKernels avx512_bf16_pairs = pair_table("avx512");
}  // namespace moiety

#endif
