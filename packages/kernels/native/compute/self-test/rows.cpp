// Everything that goes through a row once, at odd lengths and values.
#include <cmath>
#include <cstring>
#include <limits>

#include "harness.h"

namespace moiety::self_test {
namespace {

constexpr int64_t kLengths[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 90, 101, 2880};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Runs a kernel at every level and compares what it writes to `count` floats.
template <typename Run>
void compare(const std::string& kernel, int64_t count, Run run) {
  const Floats expected(count), actual(count);
  expected.fill(7);
  run(scalar(), expected.data());
  record(expected.data(), count);
  for (const KernelTable* level : levels()) {
    actual.fill(7);
    run(*level, actual.data());
    expect_same(std::string(level->name) + " " + kernel + " n " + std::to_string(count), actual.data(),
                expected.data(), count);
  }
}

void test_norm(int64_t n, Random& random, Mood mood) {
  const Floats x(n, random, mood);
  const Halves scale(n, random, mood, true);
  for (const bool round : {false, true}) {
    compare("rms_norm", n, [&](const KernelTable& t, float* out) { t.rms_norm(x.data(), scale.data(), n, 1e-5f, out, round); });
  }
  if (mood != Mood::kPlain) return;
  double square = 0;
  for (int64_t i = 0; i < n; i++) square += static_cast<double>(x.data()[i]) * x.data()[i];
  const double factor = 1 / std::sqrt(square / static_cast<double>(n) + 1e-5);
  const Floats out(n);
  scalar().rms_norm(x.data(), scale.data(), n, 1e-5f, out.data(), false);
  for (int64_t i = 0; i < n; i++) {
    const double exact = x.data()[i] * factor * scale.at(i);
    expect_near("scalar rms_norm", out.data()[i], exact, std::fabs(exact) * 1e-6 * (1 + static_cast<double>(n) / 500));
  }
}

void test_rope(int64_t half, Random& random, Mood mood) {
  const Floats heads(3 * 2 * half, random, mood), cos(half, random, mood), sin(half, random, mood);
  for (const bool round : {false, true}) {
    compare("rope", heads.count(), [&](const KernelTable& t, float* out) {
      std::memcpy(out, heads.data(), static_cast<size_t>(heads.count()) * 4);
      t.rope(out, 3, 2 * half, cos.data(), sin.data(), round);
    });
  }
}

void test_swiglu(int64_t n, Random& random, Mood mood) {
  const Floats u(2 * n, random, mood, 5);
  for (const bool round : {false, true}) {
    compare("swiglu", n, [&](const KernelTable& t, float* out) { t.swiglu(u.data(), n, 7, out, round); });
  }
  if (mood != Mood::kPlain) return;
  const Floats out(n);
  scalar().swiglu(u.data(), n, 7, out.data(), false);
  for (int64_t i = 0; i < n; i++) {
    const double gate = std::fmin(u.data()[2 * i], 7);
    const double linear = std::fmax(-7, std::fmin(u.data()[2 * i + 1], 7));
    const double exact = gate / (1 + std::exp(-1.702 * gate)) * (linear + 1);
    expect_near("scalar swiglu", out.data()[i], exact, 2e-6 * (std::fabs(exact) + 1e-3));
  }
}

void test_extreme_swiglu() {
  const float u[] = {1e30f, 1e30f, -1e30f, 5, -3e38f, -3e38f, kInfinity, -kInfinity, -60, 2, 7, -1};
  for (const KernelTable* level : {&scalar(), best_kernel_table()}) {
    float out[6];
    level->swiglu(u, 6, 7, out, false);
    const std::string where = std::string(level->name) + " swiglu of an extreme";
    const double top = 7 / (1 + std::exp(-1.702 * 7));
    expect_near(where, out[0], top * 8, 1e-4);
    if (out[1] != 0 || out[2] != 0) fail(where, "a hugely negative gate does not give zero");
    expect_near(where, out[3], top * -6, 1e-4);
    expect_near(where, out[4], -60 / (1 + std::exp(1.702 * 60)) * 3, 180 * 2e-45);
    if (out[5] != 0) fail(where, "linear -1 does not give zero");
  }
}

void test_combine(int64_t n, Random& random, Mood mood) {
  const Floats residual(n, random, mood), weights(4, random, Mood::kPlain), y(n, random, mood);
  const Halves a(n, random, mood, true), b(n, random, mood, false);
  const GuardedBytes c(static_cast<size_t>(n) * 4 + 3);
  std::memcpy(c.data(), y.data(), static_cast<size_t>(n) * 4);
  const uint8_t* halves[] = {a.data(), b.data(), a.data(), b.data()};
  const uint8_t* floats[] = {c.data(), reinterpret_cast<const uint8_t*>(y.data()), c.data(), c.data()};
  for (const bool bf16 : {false, true}) {
    for (const int64_t k : {1, 4}) {
      compare("combine", n, [&](const KernelTable& t, float* out) {
        std::memcpy(out, residual.data(), static_cast<size_t>(n) * 4);
        t.combine(out, bf16 ? halves : floats, weights.data(), k, n, bf16);
      });
    }
  }
  compare("add", n, [&](const KernelTable& t, float* out) {
    std::memcpy(out, residual.data(), static_cast<size_t>(n) * 4);
    t.add(out, y.data(), n);
  });
}

void test_conversions(int64_t n, Random& random, Mood mood) {
  const Halves halves(n, random, mood, true);
  compare("from_bf16", n, [&](const KernelTable& t, float* out) { t.from_bf16(halves.data(), out, n); });
  const Floats x(n, random, mood);
  const GuardedBytes expected(static_cast<size_t>(n) * 2 + 1), actual(static_cast<size_t>(n) * 2 + 1);
  scalar().to_bf16(x.data(), expected.data(), n);
  for (const KernelTable* level : levels()) {
    level->to_bf16(x.data(), actual.data(), n);
    if (std::memcmp(expected.data(), actual.data(), static_cast<size_t>(n) * 2) != 0) {
      fail(std::string(level->name) + " to_bf16", "differs");
    }
  }
}

// Ties to even, exact halves, overflow to infinity, NaN.
void test_rounding() {
  const uint32_t cases[][2] = {{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80},
                               {0x7f7fffff, 0x7f80}, {0x7f800001, 0x7fc0}, {0xffffffff, 0x7fc0}, {0x80000001, 0x8000},
                               {0x00018000, 0x0002}, {0xff800000, 0xff80}, {0x7f7f7fff, 0x7f7f}};
  for (const auto& c : cases) {
    float x[9];
    uint8_t out[18];
    for (float& lane : x) std::memcpy(&lane, &c[0], 4);
    for (const KernelTable* level : {&scalar(), best_kernel_table()}) {
      level->to_bf16(x, out, 9);
      for (const int i : {0, 8}) {
        if ((out[2 * i] | out[2 * i + 1] << 8) != static_cast<int>(c[1])) {
          fail(std::string(level->name) + " to_bf16", "rounds wrongly");
        }
      }
    }
  }
}

void test_top_k(int64_t n, Random& random, Mood mood, bool ties) {
  const Floats logits(n, random, mood, 3);
  if (ties) {
    for (int64_t i = 0; i < n; i++) logits.data()[i] = static_cast<float>(random.below(4));
  }
  const int64_t k = n < 4 ? n : 4;
  uint16_t expected[4] = {}, actual[4] = {};
  compare("top_k_softmax", k, [&](const KernelTable& t, float* out) {
    t.top_k_softmax(logits.data(), n, k, &t == &scalar() ? expected : actual, out);
    if (&t != &scalar() && std::memcmp(expected, actual, sizeof actual) != 0) {
      fail(std::string(t.name) + " top_k_softmax n " + std::to_string(n), "chose others");
    }
  });
  for (int64_t j = 0; j + 1 < k; j++) {
    const float a = logits.data()[expected[j]], b = logits.data()[expected[j + 1]];
    if (a < b || (a == b && expected[j] > expected[j + 1])) fail("scalar top_k_softmax", "is out of order");
  }
}

void test_sums(int64_t n, Random& random, Mood mood) {
  const Floats x(n, random, mood, 30);
  for (const float max : {4.0f, 120.0f, -kInfinity, kInfinity}) {
    compare("exp_shifted", n, [&](const KernelTable& t, float* out) { t.exp_shifted(x.data(), n, max, out); });
    compare("sum_exp", 1, [&](const KernelTable& t, float* out) { out[0] = t.sum_exp(x.data(), n, max); });
  }
}

}  // namespace

void test_rows() {
  Random random(3);
  for (const Mood mood : kMoods) {
    for (const int64_t n : kLengths) {
      test_norm(n, random, mood);
      test_rope(n, random, mood);
      test_swiglu(n, random, mood);
      test_combine(n, random, mood);
      test_conversions(n, random, mood);
      test_sums(n, random, mood);
      for (int i = 0; i < 20; i++) test_top_k(n, random, mood, i % 2 == 0);
    }
  }
  test_extreme_swiglu();
  test_rounding();
}

// exp within 2 units in the last place over its whole range, the same at every level, also where it is subnormal.
void test_exp() {
  constexpr int64_t kCount = 4096;
  const Floats x(kCount), expected(kCount), actual(kCount);
  double worst = 0;
  for (int64_t block = 0; block < 100; block++) {
    for (int64_t i = 0; i < kCount; i++) {
      x.data()[i] = static_cast<float>(-105 + 194.0 * static_cast<double>(block * kCount + i) / (100.0 * kCount));
    }
    scalar().exp_shifted(x.data(), kCount, 0, expected.data());
    record(expected.data(), kCount);
    for (int64_t i = 0; i < kCount; i++) {
      const double exact = std::exp(static_cast<double>(x.data()[i]));
      if (exact > 3.4028234e38) continue;
      int exponent = 0;
      std::frexp(exact, &exponent);
      const double unit = std::ldexp(1, exponent - 24 > -149 ? exponent - 24 : -149);
      worst = std::fmax(worst, std::fabs(expected.data()[i] - exact) / unit);
    }
    for (const KernelTable* level : levels()) {
      level->exp_shifted(x.data(), kCount, 0, actual.data());
      expect_same(std::string(level->name) + " exp", actual.data(), expected.data(), kCount);
    }
  }
  expect_near("scalar exp, error in units in the last place", worst, 0, 2);
  const float edges[] = {-kInfinity, -1e30f, -104, kInfinity, 89, 0, -0.0f};
  const float values[] = {0, 0, 0, kInfinity, kInfinity, 1, 1};
  float out[7];
  scalar().exp_shifted(edges, 7, 0, out);
  expect_same("scalar exp of an extreme", out, values, 7);
}

}  // namespace moiety::self_test
