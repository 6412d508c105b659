// Linears as phases of an operation: column slices, taken by threads, each with its result still in that thread's cache.
#pragma once
#include "dense-linear.h"
#include "slices.h"
#include "thread-pool.h"

namespace moiety {

// Writes y = W x + b for the first y.count rows of x, all columns.
inline void linear_phase(Team& team, const DenseLinear& linear, const DenseRows& x, Rows y, bool round) {
  const Slices slices = column_slices(linear.out(), team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int) { x.multiply(linear, y, slices.begin(slice), slices.end(slice), round); });
}

}  // namespace moiety
