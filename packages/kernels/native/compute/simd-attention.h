// Attention of one query row, for the query heads that share a kv head.
#pragma once
#include "simd-math.h"

namespace moiety {
namespace {

// Positions taken at a time, so that their values are still in the first-level cache for every head and dimension.
constexpr int64_t kPositionBlock = 32;
// Heads whose values are summed up side by side, and heads that go through softmax and sum together.
constexpr int kValueHeads = 4;
constexpr int64_t kHeadBlock = 8;

// Where one kv head of consecutive positions lies: position i at data + i * stride, in elements.
template <bool kBf16>
struct KvRun {
  const uint8_t* data;
  int64_t stride;
  int64_t count;

  const uint8_t* at(int64_t i, int64_t d) const { return data + (i * stride + d) * (kBf16 ? 2 : 4); }
  Step load(int64_t i, int64_t d) const {
    if constexpr (kBf16) return load_step_bf16(at(i, d));
    return load_step(reinterpret_cast<const float*>(at(i, d)));
  }
  Step load_rest(int64_t i, int64_t d, int64_t n) const {
    if constexpr (kBf16) return load_first_bf16(at(i, d), n);
    return load_first(reinterpret_cast<const float*>(at(i, d)), n);
  }
  float element(int64_t i, int64_t d) const {
    if constexpr (kBf16) return bf16_at(at(i, d), 0);
    return f32_at(at(i, d), 0);
  }
};

// Fetches what a run holds of its kv head: each position is some cache lines, a stride away from the next, which no processor
// foresees.
template <bool kBf16>
inline void prefetch(const KvRun<kBf16>& run, int64_t head_dim) {
  const int64_t bytes = head_dim * (kBf16 ? 2 : 4);
  for (int64_t i = 0; i < run.count; i++) {
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(run.at(i, 0) + at);
  }
}

// The run that begins at position p: of one page, or less.
template <bool kBf16>
inline KvRun<kBf16> run_at(const AttentionRow& row, const KvPages& kv, int64_t kv_head, int64_t p) {
  const int64_t offset = p % kv.page_tokens;
  int64_t count = kv.page_tokens - offset;
  if (count > kPositionBlock) count = kPositionBlock;
  if (count > row.position - p + 1) count = row.position - p + 1;
  const int64_t page = row.pages[p / kv.page_tokens - row.first_block];
  const int64_t first = ((page * kv.page_tokens + offset) * kv.kv_heads + kv_head) * kv.head_dim;
  return {static_cast<const uint8_t*>(kv.data) + first * (kBf16 ? 2 : 4), kv.kv_heads * kv.head_dim, count};
}

// Calls body(run, j) for runs of positions within one page; j counts from first_visible. Meanwhile, if asked, the next run is fetched,
// and what the next kv head has in this one.
template <bool kBf16, typename Body>
inline void for_runs(const AttentionRow& row, const KvPages& kv, int64_t kv_head, Body body) {
  KvRun<kBf16> run = run_at<kBf16>(row, kv, kv_head, row.first_visible);
  for (int64_t p = row.first_visible;;) {
    if (row.fetch && kv_head + 1 < kv.kv_heads) prefetch(run_at<kBf16>(row, kv, kv_head + 1, p), kv.head_dim);
    const int64_t next = p + run.count;
    if (next > row.position) return body(run, p - row.first_visible);
    const KvRun<kBf16> following = run_at<kBf16>(row, kv, kv_head, next);
    if (row.fetch) prefetch(following, kv.head_dim);
    body(run, p - row.first_visible);
    run = following;
    p = next;
  }
}

// Scores of kHeads query heads against one key.
template <bool kBf16, int kHeads>
inline void score_heads(const KvRun<kBf16>& keys, int64_t i, const float* q, int64_t head_dim, float* sums) {
  Step total[kHeads];
  MOIETY_UNROLL
  for (int h = 0; h < kHeads; h++) total[h] = zero_step();
  int64_t d = 0;
  for (; d + kStep <= head_dim; d += kStep) {
    const Step key = keys.load(i, d);
    MOIETY_UNROLL
    for (int h = 0; h < kHeads; h++) total[h] = fma(key, load_step(q + h * head_dim + d), total[h]);
  }
  if (d < head_dim) {
    const Step key = keys.load_rest(i, d, head_dim - d);
    MOIETY_UNROLL
    for (int h = 0; h < kHeads; h++) total[h] = fma(key, load_first(q + h * head_dim + d, head_dim - d), total[h]);
  }
  if constexpr (kHeads % 4 == 0) {
    MOIETY_UNROLL
    for (int h = 0; h < kHeads; h += 4) sum_four(total[h], total[h + 1], total[h + 2], total[h + 3], sums + h);
  } else {
    MOIETY_UNROLL
    for (int h = 0; h < kHeads; h++) sums[h] = sum_of_step(total[h]);
  }
}

template <bool kBf16, int kHeads>
inline void score_run(const KvRun<kBf16>& keys, const float* q, float scale, int64_t head_dim, float* scores,
                      int64_t count) {
  for (int64_t i = 0; i < keys.count; i++) {
    float sums[kHeads];
    score_heads<kBf16, kHeads>(keys, i, q, head_dim, sums);
    MOIETY_UNROLL
    for (int h = 0; h < kHeads; h++) scores[h * count + i] = sums[h] * scale;
  }
}

// out += sum over the run, positions ascending, of probability * value, for kHeads heads.
template <bool kBf16, int kHeads>
inline void accumulate_run(const KvRun<kBf16>& values, const float* probabilities, int64_t count, int64_t head_dim,
                           float* out) {
  int64_t d = 0;
  for (; d + kStep <= head_dim; d += kStep) {
    Step total[kHeads];
    MOIETY_UNROLL
    for (int h = 0; h < kHeads; h++) total[h] = load_step(out + h * head_dim + d);
    for (int64_t i = 0; i < values.count; i++) {
      const Step value = values.load(i, d);
      MOIETY_UNROLL
      for (int h = 0; h < kHeads; h++) {
        const Vec probability = broadcast(probabilities[h * count + i]);
        for (int p = 0; p < kParts; p++) total[h].part[p] = fma(probability, value.part[p], total[h].part[p]);
      }
    }
    MOIETY_UNROLL
    for (int h = 0; h < kHeads; h++) store_step(out + h * head_dim + d, total[h]);
  }
  for (; d < head_dim; d++) {
    MOIETY_UNROLL
    for (int h = 0; h < kHeads; h++) {
      float total = out[h * head_dim + d];
      for (int64_t i = 0; i < values.count; i++) {
        total = __builtin_fmaf(probabilities[h * count + i], values.element(i, d), total);
      }
      out[h * head_dim + d] = total;
    }
  }
}

// Turns the scores of one head into e^(score - max) and returns the denominator, the sink in it once.
inline float soften(float* scores, int64_t count, float sink) {
  float max = sink;
  int64_t j = 0;
  if (count >= Vec::kLanes) {
    Vec maxima = broadcast(sink);
    for (; j + Vec::kLanes <= count; j += Vec::kLanes) maxima = larger(maxima, load(scores + j));
    alignas(64) float lanes[Vec::kLanes];
    store(lanes, maxima);
    for (const float lane : lanes) max = max > lane ? max : lane;
  }
  for (; j < count; j++) max = max > scores[j] ? max : scores[j];
  return exp_and_sum(scores, count, max, scores) + canonical_exp(sink - max);
}

// Scores of `heads` query heads against every visible key; each key is loaded once for kScoreHeads of them.
template <bool kBf16>
void score(const AttentionRow& row, const KvPages& keys, int64_t kv_head, const float* q, int64_t heads, float scale,
           float* scores) {
  const int64_t count = row.position - row.first_visible + 1;
  const int64_t head_dim = keys.head_dim;
  for_runs<kBf16>(row, keys, kv_head, [&](const KvRun<kBf16>& run, int64_t j) {
    int64_t h = 0;
    for (; h + kScoreHeads <= heads; h += kScoreHeads) {
      score_run<kBf16, kScoreHeads>(run, q + h * head_dim, scale, head_dim, scores + h * count + j, count);
    }
    for (; h < heads; h++) score_run<kBf16, 1>(run, q + h * head_dim, scale, head_dim, scores + h * count + j, count);
  });
}

// out [heads][head_dim] = sum over visible positions of probability * value.
template <bool kBf16>
void accumulate(const AttentionRow& row, const KvPages& values, int64_t kv_head, const float* probabilities,
                int64_t heads, float* out) {
  const int64_t count = row.position - row.first_visible + 1;
  const int64_t head_dim = values.head_dim;
  for (int64_t i = 0; i < heads * head_dim; i++) out[i] = 0;
  for_runs<kBf16>(row, values, kv_head, [&](const KvRun<kBf16>& run, int64_t j) {
    int64_t h = 0;
    for (; h + kValueHeads <= heads; h += kValueHeads) {
      accumulate_run<kBf16, kValueHeads>(run, probabilities + h * count + j, count, head_dim, out + h * head_dim);
    }
    for (; h < heads; h++) {
      accumulate_run<kBf16, 1>(run, probabilities + h * count + j, count, head_dim, out + h * head_dim);
    }
  });
}

void attention(const AttentionRow& row, const KvPages& keys, const KvPages& values, int64_t kv_head, const float* q,
               int64_t group, float scale, const uint8_t* sinks, float* out, float* scores, bool round) {
  const int64_t count = row.position - row.first_visible + 1;
  const int64_t head_dim = keys.head_dim;
  (keys.bf16 ? score<true> : score<false>)(row, keys, kv_head, q, group, scale, scores);
  for (int64_t first = 0; first < group; first += kHeadBlock) {
    const int64_t heads = group - first < kHeadBlock ? group - first : kHeadBlock;
    float* block = scores + first * count;
    float* block_out = out + first * head_dim;
    float denominators[kHeadBlock];
    for (int64_t h = 0; h < heads; h++) {
      denominators[h] = soften(block + h * count, count, bf16_at(sinks, first + h));
    }
    (values.bf16 ? accumulate<true> : accumulate<false>)(row, values, kv_head, block, heads, block_out);
    for (int64_t h = 0; h < heads; h++) {
      const float denominator = denominators[h];
      float* head = block_out + h * head_dim;
      by_vector(
          head_dim, [&](int64_t d) { store(head + d, rounded(div(load(head + d), broadcast(denominator)), round)); },
          [&](int64_t d) { head[d] = rounded(head[d] / denominator, round); });
    }
  }
}

}  // namespace
}  // namespace moiety
