// Linears as phases of an operation: column slices, taken by threads, each with its result still in that thread's cache.
#pragma once
#include "../compute/compute.h"
#include "scratch.h"
#include "slices.h"
#include "thread-pool.h"

namespace moiety {

// Writes y = W x + b for every row of x, all columns.
inline void linear_phase(Team& team, const KernelTable& kernels, const Bf16Linear& linear, ConstRows x, Rows y, bool round) {
  const Slices slices = column_slices(linear.out, team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int) {
    kernels.linear_bf16(linear, x, y, slices.begin(slice), slices.end(slice), round);
  });
}

}  // namespace moiety
