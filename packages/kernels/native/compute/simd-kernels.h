// The kernels over 16-lane steps, once for all levels; simd-math.h says what a level defines before it includes this.
#pragma once
#include "simd-attention.h"
#include "simd-linear.h"
#include "simd-math.h"
#include "simd-rows.h"

namespace moiety {
namespace {

constexpr KernelTable simd_table(const char* name) {
  return {name,    linear_bf16, linear_mxfp4, rms_norm, rope,          attention, swiglu,
          combine, add,         from_bf16,    to_bf16,  top_k_softmax, sum_exp,   exp_shifted};
}

}  // namespace
}  // namespace moiety
