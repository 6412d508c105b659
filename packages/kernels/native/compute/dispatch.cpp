// Chooses a level at run time, by what the CPU and its operating system support.
#include <cstring>
#include <initializer_list>

#include "levels.h"

namespace moiety {
namespace {

#if defined(__x86_64__)
// __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the wide registers.
bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

}  // namespace

const KernelTable* kernel_table(const char* name) {
  if (std::strcmp(name, "scalar") == 0) return &scalar_table;
#if defined(__x86_64__)
  if (std::strcmp(name, "avx2") == 0) return has_avx2() ? &avx2_table : nullptr;
  if (std::strcmp(name, "avx512") == 0) return has_avx512() ? &avx512_table : nullptr;
#endif
#if defined(__aarch64__)
  if (std::strcmp(name, "neon") == 0) return &neon_table;
#endif
  return nullptr;
}

const KernelTable* best_kernel_table() {
  for (const char* name : {"avx512", "avx2", "neon"}) {
    if (const KernelTable* table = kernel_table(name)) return table;
  }
  return &scalar_table;
}

}  // namespace moiety
