// The readable reference of int8.h: plain loops. The other levels must give these bits.
#include <cmath>
#include <cstring>
#include <limits>

#include "int8.h"
#include "scalar-bf16.h"

namespace moiety {
namespace {

// Where element k of a row lies: the even ones of each 8 first.
int64_t place(int64_t k) { return k / 8 * 8 + k % 2 * 4 + k % 8 / 2; }

int32_t doubled_code(const Int8Linear& w, int64_t o, int64_t k) {
  constexpr int32_t kDoubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const int64_t block = (o / kInt8Panel) * int8_blocks(w.in) + k / kInt8Block;
  const int64_t byte = k % kInt8Block / 2;
  const uint8_t pair = w.codes[((block * 4 + byte / 4) * kInt8Panel + o % kInt8Panel) * 4 + byte % 4];
  return kDoubled[k % 2 == 0 ? pair & 15 : pair >> 4];
}

float weight_scale(const Int8Linear& w, int64_t o, int64_t b) {
  return std::ldexp(1.0f, w.scales[((o / kInt8Panel) * int8_blocks(w.in) + b) * kInt8Panel + o % kInt8Panel] - 127);
}

void quantise_block(const float* x, int8_t* values, float* scale) {
  float most = 0;
  bool finite = true;
  for (int64_t i = 0; i < kInt8Block; i++) {
    finite = finite && std::isfinite(x[i]);
    if (std::fabs(x[i]) > most) most = std::fabs(x[i]);
  }
  std::memset(values, 0, kInt8Block);
  *scale = finite ? 0 : std::numeric_limits<float>::quiet_NaN();
  if (!finite || most < kInt8Tiny) return;
  *scale = most / 254.0f;
  const float factor = 127.0f / most;
  // The rounding mode of a process is to nearest, ties to even.
  for (int64_t i = 0; i < kInt8Block; i++) values[place(i)] = static_cast<int8_t>(std::nearbyint(x[i] * factor));
}

void quantise(const float* x, int64_t blocks, const Int8Rows& to, int64_t row, int64_t at) {
  for (int64_t b = 0; b < blocks; b++) {
    const int64_t block = row * int8_blocks(to.in) + at / kInt8Block + b;
    quantise_block(x + b * kInt8Block, to.values + block * kInt8Block, to.scales + block);
    to.corrections[block] = 0;
  }
}

float output(const Int8Linear& w, const Int8Rows& x, int64_t r, int64_t o) {
  float total = 0;
  for (int64_t b = 0; b < int8_blocks(w.in); b++) {
    const int64_t block = r * int8_blocks(w.in) + b;
    int32_t sum = 0;
    for (int64_t i = 0; i < kInt8Block; i++) {
      sum += doubled_code(w, o, b * kInt8Block + i) * x.values[block * kInt8Block + place(i)];
    }
    const float scale = x.scales[block] * weight_scale(w, o, b);
    total = std::fma(static_cast<float>(sum), scale, total);
  }
  return total;
}

void linear(const Int8Linear& w, const Int8Rows& x, Rows y, int64_t begin, int64_t end, bool round) {
  for (int64_t r = 0; r < x.count; r++) {
    for (int64_t o = begin; o < end; o++) {
      float value = output(w, x, r, o);
      if (w.bias != nullptr) value = value + load_bf16(w.bias, o);
      y.data[r * y.stride + o] = rounded(value, round);
    }
  }
}

int64_t peak(int64_t steps) {
  volatile uint32_t operand = 3;
  uint32_t sum = 0;
  for (int64_t i = 0; i < steps; i++) sum += operand * static_cast<uint32_t>(i);
  operand = sum;
  return steps * 2;
}

}  // namespace

const Int8Kernels scalar_int8 = {"scalar", quantise, linear, peak};

}  // namespace moiety
