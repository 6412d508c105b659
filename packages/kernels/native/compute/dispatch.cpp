// Chooses a level at run time, by what the CPU and its operating system support.
#include <cstring>
#include <initializer_list>

#include "levels.h"

namespace moiety {

const KernelTable* kernel_table(const char* name) {
  if (std::strcmp(name, "scalar") == 0) return &scalar_table;
  return nullptr;
}

const KernelTable* best_kernel_table() {
  for (const char* name : {"avx512", "avx2", "neon"}) {
    if (const KernelTable* table = kernel_table(name)) return table;
  }
  return &scalar_table;
}

}  // namespace moiety
