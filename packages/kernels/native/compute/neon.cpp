// The NEON level (AArch64): neon-vec.h.
#include "levels.h"

#if defined(__aarch64__)
#include "neon-vec.h"
#include "simd-kernels.h"

namespace moiety {
const KernelTable neon_table = simd_table("neon");
}  // namespace moiety

#endif
