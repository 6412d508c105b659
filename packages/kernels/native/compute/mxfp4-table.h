// Every MXFP4 value as bf16, in which it is exact: one table of 16 codes for each scale byte, cut into the upper and
// the lower byte so that a byte shuffle looks up 16 or 32 codes at once. 8 KiB, of which a matrix touches little.
#pragma once
#include <cstdint>

namespace moiety {

struct alignas(32) Mxfp4Codes {
  uint8_t upper[16];
  uint8_t lower[16];
};

struct Mxfp4Table {
  Mxfp4Codes scale[256];
};

// The bits of code * 2^(scale - 127): subnormal for the smallest scales, infinite where f32 overflows.
constexpr uint16_t mxfp4_as_bf16(int code, int scale) {
  const int magnitude = code & 7;
  const int sign = (code & 8) << 12;
  if (magnitude == 0) return static_cast<uint16_t>(sign);
  const int significand = magnitude == 1 ? 0x80 : 0x80 | (magnitude & 1) << 6;
  const int exponent = scale + (magnitude >> 1) - 1;
  if (exponent >= 255) return static_cast<uint16_t>(sign | 0x7f80);
  if (exponent < 1) return static_cast<uint16_t>(sign | significand >> (1 - exponent));
  return static_cast<uint16_t>(sign | exponent << 7 | (significand & 0x7f));
}

constexpr Mxfp4Table make_mxfp4_table() {
  Mxfp4Table table = {};
  for (int scale = 0; scale < 256; scale++) {
    for (int code = 0; code < 16; code++) {
      const uint16_t bits = mxfp4_as_bf16(code, scale);
      table.scale[scale].upper[code] = static_cast<uint8_t>(bits >> 8);
      table.scale[scale].lower[code] = static_cast<uint8_t>(bits);
    }
  }
  return table;
}

static constexpr Mxfp4Table kMxfp4Table = make_mxfp4_table();

}  // namespace moiety
