// Chooses a level at run time, by what the CPU and its operating system support.
#include <cstring>
#include <initializer_list>
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "int8.h"
#include "levels.h"
#include "pairs.h"

namespace moiety {
namespace {

#if defined(__aarch64__) && defined(__linux__)
bool has_dot() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#elif defined(__aarch64__)
// Every AArch64 processor of that system has dot products.
bool has_dot() { return true; }
#endif

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

bool is_of_intel() {
  __builtin_cpu_init();
  return __builtin_cpu_is("intel");
}

bool has_vnni() { return __builtin_cpu_supports("avx512vnni"); }
bool has_bf16() { return __builtin_cpu_supports("avx512bf16"); }
#endif

}  // namespace

#if defined(__x86_64__)
bool reads_side_by_side = is_of_intel();
#else
bool reads_side_by_side = false;
#endif

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

const Int8Kernels* int8_kernels(const char* name) {
  const auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
  if (is("scalar")) return &scalar_int8;
#if defined(__x86_64__)
  if (is("avx2")) return has_avx2() ? &avx2_int8 : nullptr;
  if (is("avx512")) return has_avx512() ? (has_vnni() ? &avx512_vnni_int8 : &avx512_int8) : nullptr;
  if (is("avx512-plain")) return has_avx512() ? &avx512_int8 : nullptr;
#endif
#if defined(__aarch64__)
  if (is("neon")) return has_dot() ? &neon_dot_int8 : &neon_int8;
  if (is("neon-plain")) return &neon_int8;
#endif
  return nullptr;
}

const PairKernels* pair_kernels(const char* name) {
  const auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
  if (is("scalar")) return &scalar_pairs;
#if defined(__x86_64__)
  if (is("avx2")) return has_avx2() ? &avx2_pairs : nullptr;
  if (is("avx512")) return has_avx512() ? (has_bf16() ? &avx512_bf16_pairs : &avx512_pairs) : nullptr;
  if (is("avx512-plain")) return has_avx512() ? &avx512_pairs : nullptr;
#endif
#if defined(__aarch64__)
  if (is("neon")) return &neon_pairs;
#endif
  return nullptr;
}

}  // namespace moiety
