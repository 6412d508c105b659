// The readable reference of pairs.h: plain loops. The other levels must give these bits.
#include <cfloat>
#include <cmath>

#include "pairs.h"
#include "scalar-bf16.h"

namespace moiety {
namespace {

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
        total = flushing_fma(load_bf16(word, 1), from_bf16(row[2 * p + 1]), total);
        total = flushing_fma(load_bf16(word, 0), from_bf16(row[2 * p]), total);
      }
      const float sum = w.bias == nullptr ? total : total + load_bf16(w.bias, o);
      y.data[r * y.stride + o] = rounded(sum, round);
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
