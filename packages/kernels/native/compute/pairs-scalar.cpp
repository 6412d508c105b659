// The readable reference of pairs.h: plain loops. The other levels must give these bits.
#include <cfloat>
#include <cmath>
#include <cstring>

#include "pairs.h"

namespace moiety {
namespace {

float widened(uint32_t bf16) {
  const uint32_t bits = bf16 << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

uint32_t bf16_at(const uint8_t* data, int64_t i) { return uint32_t{data[2 * i]} | uint32_t{data[2 * i + 1]} << 8; }

float rounded_to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = std::isnan(value) ? 0x7fc00000 : (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
  std::memcpy(&value, &bits, 4);
  return value;
}

float flushed(float value) { return std::fabs(value) < FLT_MIN ? std::copysign(0.0f, value) : value; }

// a b + c, of which what is subnormal is flushed. Whether a sum is subnormal depends on its value rounded as if exponents
// had no end: scaled up, it is seen.
float flushing_fma(float a, float b, float c) {
  a = flushed(a), b = flushed(b), c = flushed(c);
  const float sum = std::fma(a, b, c);
  if (std::fabs(sum) != FLT_MIN) return flushed(sum);
  const float scaled = std::fma(a * 0x1p40f, b, c * 0x1p40f);
  return std::fabs(scaled) < FLT_MIN * 0x1p40f ? std::copysign(0.0f, sum) : sum;
}

void linear(const PairLinear& w, Bf16Rows x, Rows y, int64_t begin, int64_t end, bool round) {
  const int64_t pairs = pairs_of(w.in);
  for (int64_t r = 0; r < x.count; r++) {
    const uint16_t* const row = x.data + r * x.stride;
    for (int64_t o = begin; o < end; o++) {
      const uint8_t* const words = w.words + (o / kPairPanel * pairs * kPairPanel + o % kPairPanel) * 4;
      float total = 0;
      for (int64_t p = 0; p < pairs; p++) {
        const uint8_t* const word = words + p * kPairPanel * 4;
        total = flushing_fma(widened(bf16_at(word, 1)), widened(row[2 * p + 1]), total);
        total = flushing_fma(widened(bf16_at(word, 0)), widened(row[2 * p]), total);
      }
      const float sum = w.bias == nullptr ? total : total + widened(bf16_at(w.bias, o));
      y.data[r * y.stride + o] = round ? rounded_to_bf16(sum) : sum;
    }
  }
}

int64_t peak(int64_t steps) {
  float total = 0;
  for (int64_t i = 0; i < steps; i++) {
    total = flushing_fma(1.5f, 0.5f, total);
    asm volatile("" : "+m"(total));
  }
  return 2 * steps;
}

}  // namespace

const PairKernels scalar_pairs = {"scalar", linear, peak};

}  // namespace moiety
