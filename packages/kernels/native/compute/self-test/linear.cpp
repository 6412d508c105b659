// Matrix products at odd sizes, slices, addresses and values; and against double precision.
#include <cmath>
#include <cstring>

#include "harness.h"

namespace moiety::self_test {
namespace {

std::string name_of(const KernelTable& level, const char* kernel, const Size& s) {
  return std::string(level.name) + " " + kernel + " in " + std::to_string(s.in) + " out " + std::to_string(s.out) +
         " rows " + std::to_string(s.rows) + " slice " + std::to_string(s.begin) + ".." + std::to_string(s.end);
}

// Runs one kernel on rows at an odd stride; elements outside the slice must stay as they were.
template <typename Kernel>
void compare(const char* kernel, const Size& s, Random& random, Mood mood, Kernel run) {
  const int64_t x_stride = s.in + random.below(4);
  const int64_t y_stride = s.out + random.below(4);
  const Floats x(x_stride * (s.rows - 1) + s.in, random, mood);
  const Floats expected(y_stride * (s.rows - 1) + s.out);
  const Floats actual(expected.count());
  const ConstRows in = {x.data(), s.rows, x_stride};
  const bool round = random.below(2) == 0;
  expected.fill(kUntouched);
  run(scalar(), in, Rows{expected.data(), s.rows, y_stride}, s.begin, s.end, round);
  record(expected.data(), expected.count());
  const Random at_this_point = random;
  for (const KernelTable* level : levels()) {
    random = at_this_point;
    const std::string where = name_of(*level, kernel, s);
    actual.fill(kUntouched);
    run(*level, in, Rows{actual.data(), s.rows, y_stride}, s.begin, s.end, round);
    expect_same(where, actual.data(), expected.data(), expected.count());
    actual.fill(kUntouched);
    in_pieces(s, random, [&](int64_t r, int64_t rows, int64_t o, int64_t end) {
      run(*level, ConstRows{x.data() + r * x_stride, rows, x_stride},
          Rows{actual.data() + r * y_stride, rows, y_stride}, o, end, round);
    });
    expect_same(where + " in pieces", actual.data(), expected.data(), expected.count());
  }
  random = at_this_point;
}

void compare_bf16(const Size& s, Random& random, Mood mood) {
  const Halves weight(s.in * s.out, random, mood, random.below(2) == 0);
  const Halves bias(s.out, random, mood, random.below(2) == 0);
  const Bf16Linear w = {weight.data(), random.below(3) == 0 ? nullptr : bias.data(), s.in, s.out};
  compare("linear_bf16", s, random, mood,
          [&](const KernelTable& table, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
            table.linear_bf16(w, x, y, begin, end, round);
          });
}

struct RandomMxfp4 {
  GuardedBytes blocks;
  GuardedBytes scales;
  Halves bias;
  Mxfp4Linear linear;

  RandomMxfp4(int64_t in, int64_t out, Random& random, Mood mood)
      : blocks(static_cast<size_t>(in / 2 * out)),
        scales(static_cast<size_t>(in / 32 * out)),
        bias(out, random, mood, random.below(2) == 0),
        linear{blocks.data(), scales.data(), random.below(3) == 0 ? nullptr : bias.data(), in, out} {
    for (size_t i = 0; i < blocks.size(); i++) blocks.data()[i] = static_cast<uint8_t>(random.next());
    for (size_t i = 0; i < scales.size(); i++) {
      const bool extreme = mood != Mood::kPlain && random.below(4) == 0;
      const int64_t any = random.below(mood == Mood::kTiny ? 120 : 255);
      scales.data()[i] = static_cast<uint8_t>(extreme ? any : 118 + random.below(8));
    }
  }

  float at(int64_t o, int64_t k) const {
    constexpr float kValues[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6};
    const uint8_t byte = linear.blocks[o * (linear.in / 2) + k / 2];
    const int scale = linear.scales[o * (linear.in / 32) + k / 32];
    return std::ldexp(kValues[k % 2 == 0 ? byte & 15 : byte >> 4], scale - 127);
  }
};

void compare_mxfp4(const Size& s, Random& random, Mood mood) {
  const RandomMxfp4 w(s.in, s.out, random, mood);
  compare("linear_mxfp4", s, random, mood,
          [&](const KernelTable& table, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) {
            table.linear_mxfp4(w.linear, x, y, begin, end, round);
          });
}

// bf16 weights of equal value give equal bits.
void compare_formats(const Size& s, Random& random, Mood mood) {
  const RandomMxfp4 packed(s.in, s.out, random, mood);
  const GuardedBytes wide(static_cast<size_t>(s.in * s.out * 2));
  for (int64_t o = 0; o < s.out; o++) {
    for (int64_t k = 0; k < s.in; k++) {
      const uint16_t half = bf16_of(packed.at(o, k));
      if (float_of_bf16(half) != packed.at(o, k)) fail("mxfp4", "a value is not exact in bf16");
      std::memcpy(wide.data() + 2 * (o * s.in + k), &half, 2);
    }
  }
  const Bf16Linear w = {wide.data(), packed.linear.bias, s.in, s.out};
  const Floats x(s.in * s.rows, random, mood);
  const Floats from_packed(s.out * s.rows), from_wide(s.out * s.rows);
  std::vector<const KernelTable*> all = levels();
  all.push_back(&scalar());
  for (const KernelTable* level : all) {
    level->linear_mxfp4(packed.linear, {x.data(), s.rows, s.in}, {from_packed.data(), s.rows, s.out}, 0, s.out, false);
    level->linear_bf16(w, {x.data(), s.rows, s.in}, {from_wide.data(), s.rows, s.out}, 0, s.out, false);
    expect_same(name_of(*level, "mxfp4 as bf16", s), from_packed.data(), from_wide.data(), from_wide.count());
  }
}

}  // namespace

void test_linear() {
  Random random(1);
  for (const Mood mood : kMoods) {
    for (const int64_t out : {1, 3, 17, 50}) {
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 33, 131}) {
        for (const int64_t in : {32, 64, 96}) {
          compare_mxfp4({in, out, rows, 0, out}, random, mood);
          compare_mxfp4(random_slice(in, out, rows, random), random, mood);
        }
        for (const int64_t in : {1, 7, 16, 40, 64, 96, 101}) {
          compare_bf16({in, out, rows, 0, out}, random, mood);
          compare_bf16(random_slice(in, out, rows, random), random, mood);
        }
      }
    }
    for (const int64_t rows : {1, 2, 3, 4, 5, 9, 33}) {
      for (const int64_t in : {544, 2880}) {
        compare_mxfp4(random_slice(in, 17, rows, random), random, mood);
        compare_bf16(random_slice(in, 17, rows, random), random, mood);
      }
      compare_bf16(random_slice(1031, 5, rows, random), random, mood);
    }
    for (const int64_t rows : {1, 7}) compare_formats({96, 3, rows, 0, 3}, random, mood);
  }
}

// The reference against double precision: within (in/16 + 6) roundings of the sum of magnitudes.
void test_linear_accuracy() {
  Random random(2);
  for (const int64_t in : {32, 96, 2880}) {
    constexpr int64_t kOut = 3, kRows = 2;
    const RandomMxfp4 w(in, kOut, random, Mood::kPlain);
    const Floats x(in * kRows, random, Mood::kPlain);
    const Floats y(kOut * kRows);
    scalar().linear_mxfp4(w.linear, {x.data(), kRows, in}, {y.data(), kRows, kOut}, 0, kOut, false);
    for (int64_t r = 0; r < kRows; r++) {
      for (int64_t o = 0; o < kOut; o++) {
        double sum = w.linear.bias == nullptr ? 0 : w.bias.at(o);
        double magnitude = std::fabs(sum);
        for (int64_t k = 0; k < in; k++) {
          const double product = static_cast<double>(w.at(o, k)) * x.data()[r * in + k];
          sum += product;
          magnitude += std::fabs(product);
        }
        const double tolerance = static_cast<double>(in / 16 + 6) * 0x1p-24 * magnitude;
        expect_near("scalar linear_mxfp4 in " + std::to_string(in), y.data()[r * kOut + o], sum, tolerance);
      }
    }
  }
}

}  // namespace moiety::self_test
