// The template of int8-simd.h in plain C++, with the shape of AVX-512 and its sums in 32 bits.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../int8.h"

namespace moiety {
namespace {

struct Floats {
  static constexpr int kLanes = 16;
  float v[kLanes];
};
struct Bytes {
  uint8_t v[64];
};
struct Sums {
  int32_t v[16];
};

constexpr int kRowPanels[] = {4, 1, 2, 2, 2, 1, 1};
constexpr int kStreams = 3;
constexpr int kTileRows = 2;
constexpr int kTilePanels = 3;

template <typename F>
inline Floats each(F f) {
  Floats out;
  for (int i = 0; i < Floats::kLanes; i++) out.v[i] = f(i);
  return out;
}

inline Floats broadcast(float x) {
  return each([&](int) { return x; });
}
inline Floats zero_floats() { return broadcast(0); }
inline Floats load(const float* p) {
  Floats out;
  std::memcpy(&out, p, sizeof out);
  return out;
}
inline void store(float* p, Floats a) { std::memcpy(p, &a, sizeof a); }
inline Floats mul(Floats a, Floats b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
inline Floats fma(Floats a, Floats b, Floats c) {
  return each([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
}

inline Bytes load_bytes(const uint8_t* p) {
  Bytes out;
  std::memcpy(&out, p, sizeof out);
  return out;
}
inline void store_bytes(uint8_t* p, Bytes a) { std::memcpy(p, &a, sizeof a); }
inline void keep(Bytes&) {}
inline Bytes broadcast_word(const int8_t* p) {
  Bytes out;
  for (int i = 0; i < 64; i++) out.v[i] = static_cast<uint8_t>(p[i % 4]);
  return out;
}

inline void unpack(const uint8_t* packed, Bytes& even, Bytes& odd) {
  constexpr uint8_t kCodes[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
  for (int i = 0; i < 64; i++) {
    even.v[i] = kCodes[packed[i] & 15];
    odd.v[i] = kCodes[packed[i] >> 4];
  }
}

inline Sums start(int32_t correction) {
  Sums s;
  for (int32_t& lane : s.v) lane = correction;
  return s;
}
inline Sums multiply_add(Sums s, Bytes weights, Bytes activations) {
  for (int i = 0; i < 64; i++) s.v[i / 4] += weights.v[i] * static_cast<int8_t>(activations.v[i]);
  return s;
}
inline Floats to_floats(Sums s) {
  return each([&](int i) { return static_cast<float>(s.v[i]); });
}

inline Floats load_scales(const uint8_t* p) {
  return each([&](int i) { return std::ldexp(1.0f, p[i] - 127); });
}

inline void quantise_block(const float* x, int8_t* values, float* scale, int32_t* correction) {
  uint32_t most = 0;
  for (int i = 0; i < 32; i++) {
    uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    if ((bits & 0x7fffffff) > most) most = bits & 0x7fffffff;
  }
  float largest;
  std::memcpy(&largest, &most, 4);
  std::memset(values, 0, 32);
  *correction = 0;
  *scale = most >= 0x7f800000 ? NAN : 0;
  if (most >= 0x7f800000 || largest < kInt8Tiny) return;
  *scale = largest / 254;
  const float factor = 127 / largest;
  for (int i = 0; i < 32; i++) {
    const auto value = static_cast<int8_t>(std::nearbyint(x[i] * factor));
    values[i / 8 * 8 + i % 2 * 4 + i % 8 / 2] = value;
    *correction -= 12 * value;
  }
}

}  // namespace
}  // namespace moiety

#define MOIETY_ROLLED
#include "../int8-simd.h"

namespace moiety {
extern const Int8Kernels emulated_int8;
const Int8Kernels emulated_int8 = int8_table("emulated");
}  // namespace moiety
