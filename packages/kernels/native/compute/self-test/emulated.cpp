// A level of the vector templates in plain C++, with AVX-512's shape: it tests the templates at 16 lanes on any CPU.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../levels.h"
#include "../mxfp4-table.h"

namespace moiety {
namespace {

struct Vec {
  static constexpr int kLanes = 16;
  float v[kLanes];
};

constexpr int kTileRows = 6;
constexpr int kTileOuts = 4;
constexpr int kScoreHeads = 8;

template <typename F>
inline Vec each(F f) {
  Vec out;
  for (int i = 0; i < Vec::kLanes; i++) out.v[i] = f(i);
  return out;
}

inline uint32_t bits(float x) {
  uint32_t b;
  std::memcpy(&b, &x, 4);
  return b;
}

inline float from_bits(uint32_t b) {
  float x;
  std::memcpy(&x, &b, 4);
  return x;
}

inline uint32_t bf16_bits(float x) {
  if (x != x) return 0x7fc0;
  return (bits(x) + 0x7fff + ((bits(x) >> 16) & 1)) >> 16;
}

inline Vec broadcast(float x) {
  return each([&](int) { return x; });
}
inline Vec zero() { return broadcast(0); }
inline Vec load(const float* p) {
  Vec out;
  std::memcpy(&out, p, sizeof out);
  return out;
}
inline void store(float* p, Vec a) { std::memcpy(p, &a, sizeof a); }

inline Vec fma(Vec a, Vec b, Vec c) {
  return each([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
}
inline Vec add(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
inline Vec sub(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
inline Vec mul(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
inline Vec div(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
inline Vec larger(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec smaller(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec minus_abs(Vec a) {
  return each([&](int i) { return from_bits(bits(a.v[i]) | 0x80000000); });
}
inline Vec negate(Vec a) {
  return each([&](int i) { return -a.v[i]; });
}
inline Vec select_negative(Vec x, Vec a, Vec b) {
  return each([&](int i) { return x.v[i] < 0 ? a.v[i] : b.v[i]; });
}
inline Vec load_bf16(const uint8_t* p) {
  return each([&](int i) { return from_bits((uint32_t{p[2 * i]} | uint32_t{p[2 * i + 1]} << 8) << 16); });
}
inline Vec round_to_bf16(Vec a) {
  return each([&](int i) { return from_bits(bf16_bits(a.v[i]) << 16); });
}
inline void store_bf16(uint8_t* p, Vec a) {
  for (int i = 0; i < Vec::kLanes; i++) {
    const uint32_t half = bf16_bits(a.v[i]);
    p[2 * i] = static_cast<uint8_t>(half);
    p[2 * i + 1] = static_cast<uint8_t>(half >> 8);
  }
}
inline Vec times_power_of_two(Vec p, Vec shifted) {
  return each([&](int i) {
    const uint32_t n = bits(shifted.v[i]) - bits(12582912.0f);
    const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(n) >> 1);
    return p.v[i] * from_bits((half + 127) << 23) * from_bits((n - half + 127) << 23);
  });
}
inline void load_pairs(const float* p, Vec& even, Vec& odd) {
  even = each([&](int i) { return p[2 * i]; });
  odd = each([&](int i) { return p[2 * i + 1]; });
}
inline void load_mxfp4(const uint8_t* block, uint8_t scale, Vec* out) {
  const Mxfp4Codes& codes = kMxfp4Table.scale[scale];
  for (int i = 0; i < 32; i++) {
    const int code = i % 2 == 0 ? block[i / 2] & 15 : block[i / 2] >> 4;
    out[i / 16].v[i % 16] = from_bits((uint32_t{codes.upper[code]} << 8 | codes.lower[code]) << 16);
  }
}
inline float sum_of_lanes(const Vec* parts) {
  Vec lanes = parts[0];
  for (int half = 8; half >= 1; half /= 2) {
    for (int i = 0; i < half; i++) lanes.v[i] += lanes.v[i + half];
  }
  return lanes.v[0];
}

inline void sum_of_lanes_four(const Vec* a, const Vec* b, const Vec* c, const Vec* d, float* sums) {
  const Vec* all[] = {a, b, c, d};
  for (int i = 0; i < 4; i++) sums[i] = sum_of_lanes(all[i]);
}

}  // namespace
}  // namespace moiety

#include "../simd-kernels.h"

namespace moiety {
extern const KernelTable emulated_table;
const KernelTable emulated_table = simd_table("emulated");
}  // namespace moiety
