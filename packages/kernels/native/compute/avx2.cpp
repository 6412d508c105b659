// The AVX2 level: avx2-vec.h.
#include "levels.h"

#if defined(__x86_64__)
#include "avx2-vec.h"
#include "simd-kernels.h"

namespace moiety {
const KernelTable avx2_table = simd_table("avx2");
}  // namespace moiety

#endif
