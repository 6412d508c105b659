// pairs.h at the AVX-512 level with BF16: a pair is one instruction, which flushes by itself.
#include "pairs.h"

#if defined(__x86_64__)
#include "pairs-avx512.h"

namespace moiety {
namespace {

constexpr int kPairVectors[] = {4, 4, 4, 4, 4, 4};

inline Vec dot(Vec total, Words weights, Words activations) {
  return {_mm512_dpbf16_ps(total.v, reinterpret_cast<__m512bh>(weights.v), reinterpret_cast<__m512bh>(activations.v))};
}

}  // namespace
}  // namespace moiety

#include "pairs-simd.h"

namespace moiety {
const PairKernels avx512_bf16_pairs = pair_table("avx512");
}  // namespace moiety

#endif
