// How the readable references read and round numbers. For the files of the scalar level alone.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace moiety {
namespace {

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The upper half of an f32.
inline float from_bf16(uint16_t bf16) { return from_bits(uint32_t{bf16} << 16); }

// Element i of a little-endian bf16 array.
inline float load_bf16(const uint8_t* data, int64_t i) {
  return from_bits((uint32_t{data[2 * i]} | uint32_t{data[2 * i + 1]} << 8) << 16);
}

// Nearest bf16, ties to even; every NaN becomes 0x7fc0.
inline uint16_t nearest_bf16(float value) {
  if (std::isnan(value)) return 0x7fc0;
  const uint32_t bits = to_bits(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float rounded(float value, bool round) { return round ? from_bf16(nearest_bf16(value)) : value; }

}  // namespace
}  // namespace moiety
