// The readable reference: every kernel as plain loops, no intrinsics. The other levels must give these bits.
//
// The canonical order of a sum over k: element k goes to lane k mod 16; a lane starts at +0 and takes its elements in
// ascending k, by fused multiply-add where there is a product; the last, incomplete step is filled up with zeros; then
// the lanes are added in one fixed tree (sum_of_lanes). NaN: a result is NaN at all levels or at none, its payload is
// not specified; everything else is the same bit for bit. Subnormals are never flushed.
#include <cmath>
#include <cstring>

#include "levels.h"
#include "scalar-bf16.h"

namespace moiety {
namespace {

constexpr int64_t kLanes = 16;

// Element i of an array of floats that may lie at any address.
float load_f32(const uint8_t* data, int64_t i) {
  float value;
  std::memcpy(&value, data + 4 * i, sizeof value);
  return value;
}

// Element i of an MXFP4 row: byte j of a group holds element 2j in its low nibble and 2j+1 in its high one.
float load_mxfp4(const uint8_t* blocks, const uint8_t* scales, int64_t i) {
  constexpr float kMagnitudes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  const int code = i % 2 == 0 ? blocks[i / 2] & 15 : blocks[i / 2] >> 4;
  const float magnitude = std::ldexp(kMagnitudes[code & 7], scales[i / 32] - 127);
  return code & 8 ? -magnitude : magnitude;
}

// max and min that return the second operand when either is NaN: NaN passes through when the data come second.
float larger(float a, float b) { return a > b ? a : b; }
float smaller(float a, float b) { return a < b ? a : b; }

// Adds lanes i and i + 8, then i and i + 4, i and i + 2, i and i + 1.
float sum_of_lanes(float* lanes) {
  for (int64_t half = kLanes / 2; half >= 1; half /= 2) {
    for (int64_t i = 0; i < half; i++) lanes[i] = lanes[i] + lanes[i + half];
  }
  return lanes[0];
}

int64_t whole_steps(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// sum_k a(k) b(k) in the canonical order.
template <typename A, typename B>
float dot(int64_t n, A a, B b) {
  float lanes[kLanes] = {};
  for (int64_t k = 0; k < whole_steps(n); k++) {
    float& lane = lanes[k % kLanes];
    lane = k < n ? std::fma(a(k), b(k), lane) : std::fma(0.0f, 0.0f, lane);
  }
  return sum_of_lanes(lanes);
}

// sum_k a(k) in the canonical order.
template <typename A>
float sum(int64_t n, A a) {
  float lanes[kLanes] = {};
  for (int64_t k = 0; k < whole_steps(n); k++) lanes[k % kLanes] += k < n ? a(k) : 0.0f;
  return sum_of_lanes(lanes);
}

// e^x within 2 units in the last place: x = n ln 2 + r, e^r by a polynomial (coefficients of Cephes' expf), times 2^n
// in two exact halves so that only the last product rounds, also into the subnormals. 0 below -104, infinite above 89.
float canonical_exp(float x) {
  constexpr float kRoundToInteger = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  x = smaller(89.0f, larger(-104.0f, x));
  const float shifted = std::fma(x, 1.44269504f, kRoundToInteger);
  const float n = shifted - kRoundToInteger;
  const float r = std::fma(n, 2.12194440e-4f, std::fma(n, -0.693359375f, x));
  float p = 1.9875691500e-4f;
  p = std::fma(p, r, 1.3981999507e-3f);
  p = std::fma(p, r, 8.3334519073e-3f);
  p = std::fma(p, r, 4.1665795894e-2f);
  p = std::fma(p, r, 1.6666665459e-1f);
  p = std::fma(p, r, 5.0000001201e-1f);
  const float power = std::fma(p, r * r, r) + 1.0f;
  const uint32_t exponent = to_bits(shifted) - to_bits(kRoundToInteger);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(exponent) >> 1);
  return power * from_bits((half + 127) << 23) * from_bits((exponent - half + 127) << 23);
}

// 1 / (1 + e^-x) by the exponential of a negative number only, which cannot overflow.
float sigmoid(float x) {
  const float e = canonical_exp(-std::fabs(x));
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

void linear_bf16(const Bf16Linear& w, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
  for (int64_t r = 0; r < x.count; r++) {
    const float* row = x.data + r * x.stride;
    for (int64_t o = begin; o < end; o++) {
      const uint8_t* weight = w.weight + o * w.in * 2;
      float value = dot(w.in, [&](int64_t k) { return load_bf16(weight, k); }, [&](int64_t k) { return row[k]; });
      if (w.bias != nullptr) value += load_bf16(w.bias, o);
      y.data[r * y.stride + o] = rounded(value, round);
    }
  }
}

void linear_mxfp4(const Mxfp4Linear& w, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
  for (int64_t r = 0; r < x.count; r++) {
    const float* row = x.data + r * x.stride;
    for (int64_t o = begin; o < end; o++) {
      const uint8_t* blocks = w.blocks + o * (w.in / 2);
      const uint8_t* scales = w.scales + o * (w.in / 32);
      float value =
          dot(w.in, [&](int64_t k) { return load_mxfp4(blocks, scales, k); }, [&](int64_t k) { return row[k]; });
      if (w.bias != nullptr) value += load_bf16(w.bias, o);
      y.data[r * y.stride + o] = rounded(value, round);
    }
  }
}

void rms_norm(const float* x, const uint8_t* scale, int64_t n, float eps, float* out, bool round) {
  const auto element = [&](int64_t k) { return x[k]; };
  const float mean = dot(n, element, element) / static_cast<float>(n);
  const float factor = 1.0f / std::sqrt(mean + eps);
  for (int64_t i = 0; i < n; i++) out[i] = rounded(x[i] * factor * load_bf16(scale, i), round);
}

void rope(float* heads, int64_t count, int64_t head_dim, const float* cos, const float* sin, bool round) {
  const int64_t half = head_dim / 2;
  for (int64_t h = 0; h < count; h++) {
    float* first = heads + h * head_dim;
    float* second = first + half;
    for (int64_t i = 0; i < half; i++) {
      const float x1 = first[i];
      const float x2 = second[i];
      first[i] = rounded(std::fma(x1, cos[i], -(x2 * sin[i])), round);
      second[i] = rounded(std::fma(x2, cos[i], x1 * sin[i]), round);
    }
  }
}

// Element d of the key or value of one position.
float kv_element(const KvPages& kv, const AttentionRow& row, int64_t position, int64_t kv_head, int64_t d) {
  const int64_t page = row.pages[position / kv.page_tokens - row.first_block];
  const int64_t token = page * kv.page_tokens + position % kv.page_tokens;
  const int64_t i = (token * kv.kv_heads + kv_head) * kv.head_dim + d;
  const auto* data = static_cast<const uint8_t*>(kv.data);
  return kv.bf16 ? load_bf16(data, i) : load_f32(data, i);
}

// Softmax over the scores and the sink, whose column is then dropped: it takes part in the maximum and, once, in the
// denominator. Lane j mod 16 is that of position first_visible + j, so pages and chunks have no say in the order.
void attention(const AttentionRow& row, const KvPages& keys, const KvPages& values, int64_t kv_head, const float* q,
               int64_t group, float scale, const uint8_t* sinks, float* out, float* scores, bool round) {
  const int64_t count = row.position - row.first_visible + 1;
  const int64_t head_dim = keys.head_dim;
  for (int64_t h = 0; h < group; h++) {
    const float* query = q + h * head_dim;
    const float sink = load_bf16(sinks, h);
    float* score = scores + h * count;
    float max = sink;
    for (int64_t j = 0; j < count; j++) {
      const auto key = [&](int64_t d) { return kv_element(keys, row, row.first_visible + j, kv_head, d); };
      score[j] = dot(head_dim, key, [&](int64_t d) { return query[d]; }) * scale;
      max = larger(max, score[j]);
    }
    for (int64_t j = 0; j < count; j++) score[j] = canonical_exp(score[j] - max);
    const float denominator = sum(count, [&](int64_t j) { return score[j]; }) + canonical_exp(sink - max);
    for (int64_t d = 0; d < head_dim; d++) {
      float value = 0;
      for (int64_t j = 0; j < count; j++) {
        value = std::fma(score[j], kv_element(values, row, row.first_visible + j, kv_head, d), value);
      }
      out[h * head_dim + d] = rounded(value / denominator, round);
    }
  }
}

void swiglu(const float* u, int64_t intermediate, float limit, float* out, bool round) {
  for (int64_t i = 0; i < intermediate; i++) {
    const float gate = smaller(limit, u[2 * i]);
    const float linear = larger(-limit, smaller(limit, u[2 * i + 1]));
    out[i] = rounded(gate * sigmoid(1.702f * gate) * (linear + 1.0f), round);
  }
}

void combine(float* residual, const uint8_t* const* rows, const float* weights, int64_t k, int64_t n, bool rows_bf16) {
  for (int64_t i = 0; i < n; i++) {
    float total = 0;
    for (int64_t j = 0; j < k; j++) {
      total = std::fma(weights[j], rows_bf16 ? load_bf16(rows[j], i) : load_f32(rows[j], i), total);
    }
    residual[i] = residual[i] + total;
  }
}

void add(float* residual, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) residual[i] = residual[i] + y[i];
}

void widen_bf16(const uint8_t* in, float* out, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = load_bf16(in, i);
}

void narrow_to_bf16(const float* in, uint8_t* out, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const uint16_t bits = nearest_bf16(in[i]);
    out[2 * i] = static_cast<uint8_t>(bits);
    out[2 * i + 1] = static_cast<uint8_t>(bits >> 8);
  }
}

// NaN ranks above every number, so that a broken router shows as NaN weights and is not passed over.
bool ranks_above(float a, float b) { return a > b || (std::isnan(a) && !std::isnan(b)); }

void top_k_softmax(const float* logits, int64_t n, int64_t k, uint16_t* ids, float* weights) {
  if (k > n) k = n;
  for (int64_t slot = 0; slot < k; slot++) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
      bool taken = false;
      for (int64_t j = 0; j < slot; j++) taken = taken || ids[j] == i;
      if (!taken && (best < 0 || ranks_above(logits[i], logits[best]))) best = i;
    }
    ids[slot] = static_cast<uint16_t>(best);
  }
  for (int64_t j = 0; j < k; j++) weights[j] = canonical_exp(logits[ids[j]] - logits[ids[0]]);
  const float total = sum(k, [&](int64_t j) { return weights[j]; });
  for (int64_t j = 0; j < k; j++) weights[j] = weights[j] / total;
}

float sum_exp(const float* x, int64_t n, float max) {
  return sum(n, [&](int64_t k) { return canonical_exp(x[k] - max); });
}

void exp_shifted(const float* x, int64_t n, float max, float* out) {
  for (int64_t i = 0; i < n; i++) out[i] = canonical_exp(x[i] - max);
}

}  // namespace

const KernelTable scalar_table = {
    "scalar", linear_bf16, linear_mxfp4, rms_norm,  rope,          attention, swiglu,
    combine,  add,         widen_bf16,    narrow_to_bf16,   top_k_softmax, sum_exp,   exp_shifted,
};

}  // namespace moiety
