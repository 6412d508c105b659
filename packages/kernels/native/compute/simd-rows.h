// Vector kernels that go through rows once: norm, rope, SwiGLU, combine, conversions, top-k.
#pragma once
#include "simd-math.h"

namespace moiety {
namespace {

void rms_norm(const float* x, const uint8_t* scale, int64_t n, float eps, float* out, bool round) {
  Step total = zero_step();
  int64_t k = 0;
  for (; k + kStep <= n; k += kStep) {
    const Step s = load_step(x + k);
    total = fma(s, s, total);
  }
  if (k < n) {
    const Step s = load_first(x + k, n - k);
    total = fma(s, s, total);
  }
  const float mean = sum_of_step(total) / static_cast<float>(n);
  const float factor = 1.0f / __builtin_sqrtf(mean + eps);
  const Vec factors = broadcast(factor);
  by_vector(
      n,
      [&](int64_t i) { store(out + i, rounded(mul(mul(load(x + i), factors), load_bf16(scale + 2 * i)), round)); },
      [&](int64_t i) { out[i] = rounded(x[i] * factor * bf16_at(scale, i), round); });
}

void rope(float* heads, int64_t count, int64_t head_dim, const float* cos, const float* sin, bool round) {
  const int64_t half = head_dim / 2;
  for (int64_t h = 0; h < count; h++) {
    float* first = heads + h * head_dim;
    float* second = first + half;
    by_vector(
        half,
        [&](int64_t i) {
          const Vec x1 = load(first + i), x2 = load(second + i), c = load(cos + i), s = load(sin + i);
          store(first + i, rounded(fma(x1, c, negate(mul(x2, s))), round));
          store(second + i, rounded(fma(x2, c, mul(x1, s)), round));
        },
        [&](int64_t i) {
          const float x1 = first[i], x2 = second[i];
          first[i] = rounded(__builtin_fmaf(x1, cos[i], -(x2 * sin[i])), round);
          second[i] = rounded(__builtin_fmaf(x2, cos[i], x1 * sin[i]), round);
        });
  }
}

inline Vec swiglu_of(Vec gate, Vec linear, float limit) {
  gate = smaller(broadcast(limit), gate);
  linear = larger(broadcast(-limit), smaller(broadcast(limit), linear));
  const Vec gated = mul(gate, sigmoid(mul(broadcast(1.702f), gate)));
  return mul(gated, add(linear, broadcast(1.0f)));
}

void swiglu(const float* u, int64_t intermediate, float limit, float* out, bool round) {
  by_vector(
      intermediate,
      [&](int64_t i) {
        Vec gate, linear;
        load_pairs(u + 2 * i, gate, linear);
        store(out + i, rounded(swiglu_of(gate, linear, limit), round));
      },
      [&](int64_t i) {
        out[i] = rounded(first_lane(swiglu_of(broadcast(u[2 * i]), broadcast(u[2 * i + 1]), limit)), round);
      });
}

template <bool kBf16>
void combine_rows(float* residual, const uint8_t* const* rows, const float* weights, int64_t k, int64_t n) {
  by_vector(
      n,
      [&](int64_t i) {
        Vec total = zero();
        for (int64_t j = 0; j < k; j++) {
          const Vec row = kBf16 ? load_bf16(rows[j] + 2 * i) : load(reinterpret_cast<const float*>(rows[j] + 4 * i));
          total = fma(broadcast(weights[j]), row, total);
        }
        store(residual + i, add(load(residual + i), total));
      },
      [&](int64_t i) {
        float total = 0;
        for (int64_t j = 0; j < k; j++) {
          total = __builtin_fmaf(weights[j], kBf16 ? bf16_at(rows[j], i) : f32_at(rows[j], i), total);
        }
        residual[i] = residual[i] + total;
      });
}

void combine(float* residual, const uint8_t* const* rows, const float* weights, int64_t k, int64_t n, bool rows_bf16) {
  (rows_bf16 ? combine_rows<true> : combine_rows<false>)(residual, rows, weights, k, n);
}

void add(float* residual, const float* y, int64_t n) {
  by_vector(
      n, [&](int64_t i) { store(residual + i, add(load(residual + i), load(y + i))); },
      [&](int64_t i) { residual[i] = residual[i] + y[i]; });
}

void from_bf16(const uint8_t* in, float* out, int64_t n) {
  by_vector(
      n, [&](int64_t i) { store(out + i, load_bf16(in + 2 * i)); }, [&](int64_t i) { out[i] = bf16_at(in, i); });
}

void to_bf16(const float* in, uint8_t* out, int64_t n) {
  by_vector(
      n, [&](int64_t i) { store_bf16(out + 2 * i, load(in + i)); },
      [&](int64_t i) {
        const float value = rounded(in[i], true);
        uint8_t bytes[4];
        std::memcpy(bytes, &value, 4);
        std::memcpy(out + 2 * i, bytes + 2, 2);
      });
}

// NaN ranks above every number, as in scalar.cpp.
inline bool ranks_above(float a, float b) { return a > b || (a != a && b == b); }

void top_k_softmax(const float* logits, int64_t n, int64_t k, uint16_t* ids, float* weights) {
  if (k > n) k = n;
  if (k <= 0) return;
  for (int64_t i = 0, held = 0; i < n; i++) {
    if (held == k && !ranks_above(logits[i], logits[ids[k - 1]])) continue;
    if (held < k) held++;
    int64_t slot = held - 1;
    for (; slot > 0 && ranks_above(logits[i], logits[ids[slot - 1]]); slot--) ids[slot] = ids[slot - 1];
    ids[slot] = static_cast<uint16_t>(i);
  }
  for (int64_t j = 0; j < k; j++) weights[j] = logits[ids[j]];
  const float total = exp_and_sum(weights, k, logits[ids[0]], weights);
  for (int64_t j = 0; j < k; j++) weights[j] = weights[j] / total;
}

float sum_exp(const float* x, int64_t n, float max) { return exp_and_sum(x, n, max, nullptr); }

void exp_shifted(const float* x, int64_t n, float max, float* out) {
  const Vec maxima = broadcast(max);
  by_vector(
      n, [&](int64_t i) { store(out + i, canonical_exp(sub(load(x + i), maxima))); },
      [&](int64_t i) { out[i] = canonical_exp(x[i] - max); });
}

}  // namespace
}  // namespace moiety
