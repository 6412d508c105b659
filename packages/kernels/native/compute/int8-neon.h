// int8.h at the NEON level (AArch64), but for what sums are and how they grow: int8-neon*.cpp.
#pragma once
#include <arm_neon.h>

#include "int8.h"

namespace moiety {
namespace {

struct Floats {
  static constexpr int kLanes = 4;
  float32x4_t v;
};
struct Bytes {
  int8x16_t v;
};

inline Floats zero_floats() { return {vdupq_n_f32(0)}; }
inline Floats broadcast(float x) { return {vdupq_n_f32(x)}; }
inline Floats load(const float* p) { return {vld1q_f32(p)}; }
inline void store(float* p, Floats a) { vst1q_f32(p, a.v); }
inline Floats mul(Floats a, Floats b) { return {vmulq_f32(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {vfmaq_f32(c.v, a.v, b.v)}; }

inline Bytes load_bytes(const uint8_t* p) { return {vreinterpretq_s8_u8(vld1q_u8(p))}; }
inline void store_bytes(uint8_t* p, Bytes a) { vst1q_u8(p, vreinterpretq_u8_s8(a.v)); }
inline void keep(Bytes& a) { asm("" : "+w"(a.v)); }
inline Bytes broadcast_word(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {vreinterpretq_s8_s32(vdupq_n_s32(word))};
}

inline void unpack(const uint8_t* packed, Bytes& even, Bytes& odd) {
  const int8x16_t table = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const uint8x16_t pairs = vld1q_u8(packed);
  even = {vqtbl1q_s8(table, vandq_u8(pairs, vdupq_n_u8(15)))};
  odd = {vqtbl1q_s8(table, vshrq_n_u8(pairs, 4))};
}

// The exponent of scale 0 would be zero: it is subnormal.
inline Floats load_scales(const uint8_t* p) {
  uint32_t word;
  __builtin_memcpy(&word, p, 4);
  const uint32x4_t bytes = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(word))));
  return {vreinterpretq_f32_u32(vmaxq_u32(vshlq_n_u32(bytes, 23), vdupq_n_u32(0x00400000)))};
}

// Signed times signed: nothing is to be corrected.
inline void quantise_block(const float* x, int8_t* values, float* scale, int32_t* correction) {
  *correction = 0;
  uint32x4_t most = vdupq_n_u32(0);
  for (int i = 0; i < 8; i++) {
    // As integers, magnitudes are in order, with infinities and NaN behind all numbers.
    most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + 4 * i)), vdupq_n_u32(0x7fffffff)));
  }
  const uint32_t bits = vmaxvq_u32(most);
  float largest;
  __builtin_memcpy(&largest, &bits, 4);
  if (!(largest >= kInt8Tiny && largest < __builtin_inff())) {
    vst1q_s8(values, vdupq_n_s8(0));
    vst1q_s8(values + 16, vdupq_n_s8(0));
    *scale = largest < kInt8Tiny ? 0 : __builtin_nanf("");
    return;
  }
  *scale = largest / 254.0f;
  const float factor = 127.0f / largest;
  for (int i = 0; i < 4; i++) {
    // Evens and odds of 8 elements.
    const float32x4x2_t parts = vld2q_f32(x + 8 * i);
    const int32x4_t even = vcvtnq_s32_f32(vmulq_n_f32(parts.val[0], factor));
    const int32x4_t odd = vcvtnq_s32_f32(vmulq_n_f32(parts.val[1], factor));
    vst1_s8(values + 8 * i, vmovn_s16(vcombine_s16(vmovn_s32(even), vmovn_s32(odd))));
  }
}

}  // namespace
}  // namespace moiety
