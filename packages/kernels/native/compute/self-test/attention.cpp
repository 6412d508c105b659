// Attention over shuffled pages of several sizes, at window edges, with sinks.
#include <cmath>
#include <cstring>

#include "harness.h"

namespace moiety::self_test {
namespace {

struct Shape {
  int64_t head_dim, group, kv_heads, positions;
  bool bf16;
};

// Keys or values of a sequence in order, [position][kv head][dim], in the pool's number format.
struct Sequence {
  Sequence(const Shape& shape, Random& random, Mood mood)
      : shape(shape), floats(shape.positions * shape.kv_heads * shape.head_dim, random, mood) {
    if (!shape.bf16) return;
    for (int64_t i = 0; i < floats.count(); i++) floats.data()[i] = float_of_bf16(bf16_of(floats.data()[i]));
  }
  Shape shape;
  Floats floats;
};

// The sequence laid out in pages, in a random order; pages that end it are part filled.
struct Pool {
  Pool(const Sequence& sequence, const std::vector<int32_t>& pages, int64_t first_block, int64_t page_tokens)
      : row(sequence.shape.kv_heads * sequence.shape.head_dim),
        bytes(pages.size() * static_cast<size_t>(page_tokens * row) * (sequence.shape.bf16 ? 2 : 4)),
        kv{bytes.data(), page_tokens, sequence.shape.kv_heads, sequence.shape.head_dim, sequence.shape.bf16} {
    std::memset(bytes.data(), 0xff, bytes.size());  // NaN: shows when what is not visible is read
    for (int64_t p = first_block * page_tokens; p < sequence.shape.positions; p++) {
      const int64_t page = pages[static_cast<size_t>(p / page_tokens - first_block)];
      for (int64_t i = 0; i < row; i++) {
        const float value = sequence.floats.data()[p * row + i];
        const int64_t at = (page * page_tokens + p % page_tokens) * row + i;
        const uint16_t half = bf16_of(value);
        if (sequence.shape.bf16) {
          std::memcpy(bytes.data() + 2 * at, &half, 2);
        } else {
          std::memcpy(bytes.data() + 4 * at, &value, 4);
        }
      }
    }
  }
  int64_t row;
  GuardedBytes bytes;
  KvPages kv;
};

std::vector<int32_t> shuffled(int64_t count, Random& random) {
  std::vector<int32_t> pages;
  for (int64_t i = 0; i < count; i++) pages.push_back(static_cast<int32_t>(i));
  for (int64_t i = count - 1; i > 0; i--) std::swap(pages[static_cast<size_t>(i)], pages[static_cast<size_t>(random.below(i + 1))]);
  return pages;
}

void expect_exact(const Sequence& keys, const Sequence& values, int64_t first, int64_t kv_head, const Floats& q,
                  const Halves& sinks, const float* out) {
  const Shape& s = keys.shape;
  for (int64_t h = 0; h < s.group; h++) {
    std::vector<double> sum(static_cast<size_t>(s.head_dim));
    double denominator = std::exp(static_cast<double>(sinks.at(h)));
    double magnitude = 0;
    for (int64_t p = first; p < s.positions; p++) {
      const float* key = keys.floats.data() + (p * s.kv_heads + kv_head) * s.head_dim;
      const float* value = values.floats.data() + (p * s.kv_heads + kv_head) * s.head_dim;
      double score = 0;
      for (int64_t d = 0; d < s.head_dim; d++) score += static_cast<double>(key[d]) * q.data()[h * s.head_dim + d];
      const double weight = std::exp(score * 0.125);
      denominator += weight;
      for (int64_t d = 0; d < s.head_dim; d++) {
        sum[static_cast<size_t>(d)] += weight * value[d];
        magnitude = std::fmax(magnitude, std::fabs(value[d]));
      }
    }
    for (int64_t d = 0; d < s.head_dim; d++) {
      expect_near("scalar attention", out[h * s.head_dim + d], sum[static_cast<size_t>(d)] / denominator, magnitude * 1e-5);
    }
  }
}

void compare(const Shape& s, int64_t window, Random& random, Mood mood) {
  const Sequence keys(s, random, mood), values(s, random, mood);
  const Floats q(s.group * s.head_dim, random, mood);
  const Halves sinks(s.group, random, Mood::kPlain, true);
  const int64_t position = s.positions - 1;
  const int64_t first = window > 0 && position >= window ? position - window + 1 : 0;
  const int64_t kv_head = random.below(s.kv_heads);
  const bool round = random.below(2) == 0;
  const Floats expected(q.count()), actual(q.count());
  const Floats scores(s.group * (position - first + 1));
  bool known = false;
  for (const int64_t page_tokens : {1, 5, 16, 64}) {
    const int64_t first_block = first / page_tokens;
    const std::vector<int32_t> pages = shuffled(position / page_tokens - first_block + 1, random);
    const Pool key_pool(keys, pages, first_block, page_tokens), value_pool(values, pages, first_block, page_tokens);
    const AttentionRow row = {pages.data(), first_block, first, position};
    const auto run = [&](const KernelTable& table, const Floats& out, bool rounded) {
      out.fill(3);
      table.attention(row, key_pool.kv, value_pool.kv, kv_head, q.data(), s.group, 0.125f, sinks.data(), out.data(),
                      scores.data(), rounded);
    };
    if (!known) {
      run(scalar(), expected, false);
      if (mood == Mood::kPlain) expect_exact(keys, values, first, kv_head, q, sinks, expected.data());
      run(scalar(), expected, round);
      record(expected.data(), expected.count());
      known = true;
    }
    std::vector<const KernelTable*> all = levels();
    all.push_back(&scalar());
    for (const KernelTable* level : all) {
      run(*level, actual, round);
      expect_same(std::string(level->name) + " attention, head_dim " + std::to_string(s.head_dim) + " group " +
                      std::to_string(s.group) + " positions " + std::to_string(s.positions) + " pages of " +
                      std::to_string(page_tokens),
                  actual.data(), expected.data(), actual.count());
    }
  }
}

// Scores of -1e30 and 1e30 beside a sink must neither overflow nor give NaN.
void test_extreme_scores() {
  const float q[16] = {1};
  float keys[2 * 16] = {}, values[2 * 16];
  for (int i = 0; i < 32; i++) values[i] = static_cast<float>(i / 16 + 1);
  const uint8_t sink[2] = {0, 0};
  const int32_t page = 0;
  for (const KernelTable* level : {&scalar(), best_kernel_table()}) {
    const std::string where = std::string(level->name) + " attention at extreme scores";
    const auto first_output = [&](float first, float second) {
      keys[0] = first;
      keys[16] = second;
      float out[16], scores[2];
      level->attention({&page, 0, 0, 1}, {keys, 2, 1, 16, false}, {values, 2, 1, 16, false}, 0, q, 1, 1.0f, sink, out,
                       scores, false);
      return out[0];
    };
    expect_near(where, first_output(-1e30f, -1e30f), 0, 0);
    expect_near(where, first_output(-1e30f, 0), 1, 1e-6);
    expect_near(where, first_output(1e30f, 0), 1, 0);
    expect_near(where, first_output(0, 1e30f), 2, 0);
    expect_near(where, first_output(0, 0), 1, 1e-6);
  }
}

}  // namespace

void test_attention() {
  Random random(4);
  for (const Mood mood : kMoods) {
    for (const bool bf16 : {false, true}) {
      for (const int64_t positions : {1, 2, 15, 16, 17, 33, 127, 128, 129, 130, 200}) {
        compare({64, 8, 2, positions, bf16}, 0, random, mood);
        compare({64, 8, 2, positions, bf16}, 128, random, mood);
        compare({64, 3, 3, positions, bf16}, 8, random, mood);
      }
      compare({40, 9, 1, 37, bf16}, 16, random, mood);
      compare({6, 17, 3, 37, bf16}, 0, random, mood);
      compare({32, 1, 1, 70, bf16}, 0, random, mood);
    }
  }
  test_extreme_scores();
}

}  // namespace moiety::self_test
