// The NEON level (AArch64): a step of 16 lanes is four vectors of 4.
#pragma once
#include <arm_neon.h>

#include "mxfp4-table.h"

namespace moiety {
namespace {

struct Vec {
  static constexpr int kLanes = 4;
  float32x4_t v;
};

constexpr int kTileRows = 6;
constexpr int kTileOuts = 4;
constexpr int kScoreHeads = 4;

inline uint32x4_t bits(Vec a) { return vreinterpretq_u32_f32(a.v); }
inline Vec from_bits(uint32x4_t a) { return {vreinterpretq_f32_u32(a)}; }

inline Vec zero() { return {vdupq_n_f32(0)}; }
inline Vec broadcast(float x) { return {vdupq_n_f32(x)}; }
inline Vec load(const float* p) { return {vld1q_f32(p)}; }
inline void store(float* p, Vec a) { vst1q_f32(p, a.v); }

inline Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline Vec add(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
inline Vec sub(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
inline Vec mul(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
inline Vec div(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
// Not vmaxq and vminq, which return NaN when either operand is NaN.
inline Vec larger(Vec a, Vec b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec smaller(Vec a, Vec b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec minus_abs(Vec a) { return from_bits(vorrq_u32(bits(a), vdupq_n_u32(0x80000000))); }
inline Vec negate(Vec a) { return {vnegq_f32(a.v)}; }
inline Vec select_negative(Vec x, Vec a, Vec b) { return {vbslq_f32(vcltq_f32(x.v, vdupq_n_f32(0)), a.v, b.v)}; }

inline Vec widen(uint16x4_t words) { return from_bits(vshll_n_u16(words, 16)); }

inline Vec load_bf16(const uint8_t* p) { return widen(vreinterpret_u16_u8(vld1_u8(p))); }

inline Vec round_to_bf16(Vec a) {
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits(a), 16), vdupq_n_u32(1));
  const uint32x4_t up = vaddq_u32(bits(a), vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t cut = vandq_u32(up, vdupq_n_u32(0xffff0000));
  return from_bits(vbslq_u32(vceqq_f32(a.v, a.v), cut, vdupq_n_u32(0x7fc00000)));
}

inline void store_bf16(uint8_t* p, Vec a) {
  vst1_u8(p, vreinterpret_u8_u16(vshrn_n_u32(bits(round_to_bf16(a)), 16)));
}

// p * 2^n in two halves; `shifted` is n + 1.5 * 2^23 as a float.
inline Vec times_power_of_two(Vec p, Vec shifted) {
  const uint32x4_t n = vsubq_u32(bits(shifted), bits(broadcast(12582912.0f)));
  const uint32x4_t half = vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_u32(n), 1));
  const uint32x4_t bias = vdupq_n_u32(127);
  const Vec first = from_bits(vshlq_n_u32(vaddq_u32(half, bias), 23));
  const Vec second = from_bits(vshlq_n_u32(vaddq_u32(vsubq_u32(n, half), bias), 23));
  return mul(mul(p, first), second);
}

inline void load_pairs(const float* p, Vec& even, Vec& odd) {
  const float32x4x2_t pairs = vld2q_f32(p);
  even = {pairs.val[0]};
  odd = {pairs.val[1]};
}

// Each nibble looks up the two bytes of its value.
inline void load_mxfp4(const uint8_t* block, uint8_t scale, Vec* out) {
  const Mxfp4Codes& codes = kMxfp4Table.scale[scale];
  const uint8x16_t upper = vld1q_u8(codes.upper);
  const uint8x16_t lower = vld1q_u8(codes.lower);
  const uint8x16_t bytes = vld1q_u8(block);
  const uint8x16x2_t nibbles = vzipq_u8(vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4));
  for (int i = 0; i < 2; i++) {
    const uint8x16x2_t values = vzipq_u8(vqtbl1q_u8(lower, nibbles.val[i]), vqtbl1q_u8(upper, nibbles.val[i]));
    for (int j = 0; j < 2; j++) {
      const uint16x8_t words = vreinterpretq_u16_u8(values.val[j]);
      out[4 * i + 2 * j] = widen(vget_low_u16(words));
      out[4 * i + 2 * j + 1] = widen(vget_high_u16(words));
    }
  }
}

// The first two levels of the tree: lanes i + i + 8, then i + i + 4.
inline float32x4_t four_lanes(const Vec* parts) {
  return vaddq_f32(vaddq_f32(parts[0].v, parts[2].v), vaddq_f32(parts[1].v, parts[3].v));
}

// The third level, of two vectors side by side.
inline float32x4_t two_lanes(float32x4_t a, float32x4_t b) {
  return vaddq_f32(vcombine_f32(vget_low_f32(a), vget_low_f32(b)), vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
}

inline float sum_of_lanes(const Vec* parts) {
  const float32x4_t four = four_lanes(parts);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

inline void sum_of_lanes_four(const Vec* a, const Vec* b, const Vec* c, const Vec* d, float* sums) {
  const float32x4_t ab = two_lanes(four_lanes(a), four_lanes(b));
  const float32x4_t cd = two_lanes(four_lanes(c), four_lanes(d));
  vst1q_f32(sums, vpaddq_f32(ab, cd));
}

}  // namespace
}  // namespace moiety
