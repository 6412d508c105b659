// Before a loop with constant bounds over registers: left rolled, it would keep them in memory.
#pragma once

#if defined(MOIETY_ROLLED)  // where speed does not matter, but the time to compile does
#define MOIETY_UNROLL
#elif defined(__clang__)
#define MOIETY_UNROLL _Pragma("unroll")
#else
#define MOIETY_UNROLL _Pragma("GCC unroll 16")
#endif
