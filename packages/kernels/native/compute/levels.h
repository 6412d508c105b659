// The table of each level. A level of a foreign architecture is not linked in; whether the CPU at hand can run one is
// for dispatch.cpp to decide, so nothing else calls these (the self test does, through kernel_table).
#pragma once
#include "compute.h"

namespace moiety {

extern const KernelTable scalar_table;
#if defined(__x86_64__)
extern const KernelTable avx2_table;
extern const KernelTable avx512_table;
#endif
#if defined(__aarch64__)
extern const KernelTable neon_table;
#endif

}  // namespace moiety
