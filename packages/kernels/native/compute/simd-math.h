// What the vector kernels share: steps of 16 elements, the lane tree, exp.
//
// Included by one file per level after it has defined, in moiety's unnamed namespace, `Vec` (kLanes floats) and:
//   load, load_bf16, store, store_bf16 (any alignment); zero, broadcast
//   fma(a, b, c) = a*b + c; add, sub, mul, div
//   larger(a, b) = a > b ? a : b and smaller(a, b) = a < b ? a : b, the second operand when either is NaN
//   minus_abs, negate, select_negative(x, a, b) = x < 0 ? a : b
//   round_to_bf16; times_power_of_two(p, shifted), see canonical_exp
//   load_pairs(p, even, odd): 2 * kLanes floats, deinterleaved
//   load_mxfp4(block, scale, out): the 32 elements of a group, in order
//   sum_of_lanes(parts): the tree over 16 lanes, as in scalar.cpp
//   sum_of_lanes_four(a, b, c, d, sums): four such trees
//   kTileRows, kTileOuts, kScoreHeads: register tiles
// Everything here has internal linkage and uses no function template of the standard library: a function that two
// levels shared could be linked from the one whose instructions this CPU lacks.
#pragma once
#include <cstdint>
#include <cstring>

#include "compute.h"
#include "unroll.h"

namespace moiety {
namespace {

constexpr int kStep = 16;
constexpr int kParts = kStep / Vec::kLanes;

// One step: 16 lanes, lane i of the canonical order in part i / Vec::kLanes.
struct Step {
  Vec part[kParts];
};

inline Step zero_step() {
  Step s;
  for (int i = 0; i < kParts; i++) s.part[i] = zero();
  return s;
}

inline Step load_step(const float* p) {
  Step s;
  for (int i = 0; i < kParts; i++) s.part[i] = load(p + i * Vec::kLanes);
  return s;
}

inline Step load_step_bf16(const uint8_t* p) {
  Step s;
  for (int i = 0; i < kParts; i++) s.part[i] = load_bf16(p + 2 * i * Vec::kLanes);
  return s;
}

inline void store_step(float* p, Step s) {
  for (int i = 0; i < kParts; i++) store(p + i * Vec::kLanes, s.part[i]);
}

// The first n of 16 lanes; the others are zero.
inline Step load_first(const float* p, int64_t n) {
  alignas(64) float lanes[kStep] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * 4);
  return load_step(lanes);
}

inline Step load_first_bf16(const uint8_t* p, int64_t n) {
  alignas(64) uint8_t lanes[kStep * 2] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * 2);
  return load_step_bf16(lanes);
}

inline void store_first(float* p, Step s, int64_t n) {
  alignas(64) float lanes[kStep];
  store_step(lanes, s);
  std::memcpy(p, lanes, static_cast<size_t>(n) * 4);
}

inline Step fma(Step a, Step b, Step c) {
  for (int i = 0; i < kParts; i++) c.part[i] = fma(a.part[i], b.part[i], c.part[i]);
  return c;
}

inline Step add(Step a, Step b) {
  for (int i = 0; i < kParts; i++) a.part[i] = add(a.part[i], b.part[i]);
  return a;
}

inline float sum_of_step(Step s) { return sum_of_lanes(s.part); }

// Four trees at once, side by side.
inline void sum_four(Step a, Step b, Step c, Step d, float* sums) {
  sum_of_lanes_four(a.part, b.part, c.part, d.part, sums);
}

inline float bf16_at(const uint8_t* p, int64_t i) {
  const uint32_t bits = (uint32_t{p[2 * i]} | uint32_t{p[2 * i + 1]} << 8) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline float f32_at(const uint8_t* p, int64_t i) {
  float value;
  std::memcpy(&value, p + 4 * i, 4);
  return value;
}

inline float rounded(float value, bool round) {
  if (!round) return value;
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = value != value ? 0x7fc00000 : (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline Vec rounded(Vec value, bool round) { return round ? round_to_bf16(value) : value; }

// An elementwise loop: body(i) does the Vec at i, rest(i) one element.
template <typename Body, typename Rest>
inline void by_vector(int64_t n, Body body, Rest rest) {
  int64_t i = 0;
  for (; i + Vec::kLanes <= n; i += Vec::kLanes) body(i);
  for (; i < n; i++) rest(i);
}

// For vectors whose lanes are all the same.
inline float first_lane(Vec v) {
  alignas(64) float lanes[Vec::kLanes];
  store(lanes, v);
  return lanes[0];
}

// Coefficients and steps as in scalar.cpp.
inline Vec canonical_exp(Vec x) {
  const Vec round_to_integer = broadcast(12582912.0f);
  x = smaller(broadcast(89.0f), larger(broadcast(-104.0f), x));
  const Vec shifted = fma(x, broadcast(1.44269504f), round_to_integer);
  const Vec n = sub(shifted, round_to_integer);
  const Vec r = fma(n, broadcast(2.12194440e-4f), fma(n, broadcast(-0.693359375f), x));
  Vec p = broadcast(1.9875691500e-4f);
  p = fma(p, r, broadcast(1.3981999507e-3f));
  p = fma(p, r, broadcast(8.3334519073e-3f));
  p = fma(p, r, broadcast(4.1665795894e-2f));
  p = fma(p, r, broadcast(1.6666665459e-1f));
  p = fma(p, r, broadcast(5.0000001201e-1f));
  return times_power_of_two(add(fma(p, mul(r, r), r), broadcast(1.0f)), shifted);
}

inline float canonical_exp(float x) {
  return first_lane(canonical_exp(broadcast(x)));
}

inline Vec sigmoid(Vec x) {
  const Vec e = canonical_exp(minus_abs(x));
  return div(select_negative(x, e, broadcast(1.0f)), add(broadcast(1.0f), e));
}

inline Step exp_of_difference(Step x, Vec max) {
  for (int i = 0; i < kParts; i++) x.part[i] = canonical_exp(sub(x.part[i], max));
  return x;
}

// Writes e^(x - max) to out, where out is given (x itself will do), and returns its sum.
inline float exp_and_sum(const float* x, int64_t n, float max, float* out) {
  const Vec maxima = broadcast(max);
  Step total = zero_step();
  int64_t k = 0;
  for (; k + kStep <= n; k += kStep) {
    const Step e = exp_of_difference(load_step(x + k), maxima);
    if (out != nullptr) store_step(out + k, e);
    total = add(total, e);
  }
  if (k < n) {
    const Step e = exp_of_difference(load_first(x + k, n - k), maxima);
    alignas(64) float lanes[kStep];
    store_step(lanes, e);
    if (out != nullptr) std::memcpy(out + k, lanes, static_cast<size_t>(n - k) * 4);
    total = add(total, load_first(lanes, n - k));
  }
  return sum_of_step(total);
}

}  // namespace
}  // namespace moiety
