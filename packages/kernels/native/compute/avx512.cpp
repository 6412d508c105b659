// The AVX-512 level (F, BW, VL, DQ): avx512-vec.h.
#include "levels.h"

#if defined(__x86_64__)
#include "avx512-vec.h"
#include "simd-kernels.h"

namespace moiety {
const KernelTable avx512_table = simd_table("avx512");
}  // namespace moiety

#endif
