// Quantised rows times packed weights at odd sizes, slices, addresses and values; and against double precision.
#include "../int8.h"

#include <cmath>
#include <cstring>

#include "harness.h"

namespace moiety {
extern const Int8Kernels emulated_int8;
}

namespace moiety::self_test {
namespace {

const std::vector<const Int8Kernels*>& int8_levels() {
  static const std::vector<const Int8Kernels*> all = [] {
    std::vector<const Int8Kernels*> found = {&emulated_int8};
    for (const char* name : {"avx2", "avx512", "avx512-plain", "neon", "neon-plain"}) {
      if (const Int8Kernels* level = int8_kernels(name)) found.push_back(level);
    }
    return found;
  }();
  return all;
}

// A matrix in the checkpoint's form and packed, from an odd address on.
struct PackedMatrix {
  GuardedBytes blocks, scales, packed_codes, packed_scales;
  Halves bias;
  Mxfp4Linear plain;
  Int8Linear packed;

  PackedMatrix(int64_t in, int64_t out, Random& random, Mood mood)
      : blocks(static_cast<size_t>(in / 2 * out)),
        scales(static_cast<size_t>(in / 32 * out)),
        packed_codes(static_cast<size_t>(int8_code_bytes(in, out)) + 1),
        packed_scales(static_cast<size_t>(int8_scale_bytes(in, out))),
        bias(out, random, mood, random.below(2) == 0),
        plain{blocks.data(), scales.data(), random.below(3) == 0 ? nullptr : bias.data(), in, out},
        packed{packed_codes.data(), packed_scales.data(), plain.bias, in, out} {
    for (size_t i = 0; i < blocks.size(); i++) blocks.data()[i] = static_cast<uint8_t>(random.next());
    for (size_t i = 0; i < scales.size(); i++) {
      const bool extreme = mood != Mood::kPlain && random.below(4) == 0;
      const int64_t any = random.below(mood == Mood::kTiny ? 120 : 255);
      scales.data()[i] = static_cast<uint8_t>(extreme ? any : 118 + random.below(8));
    }
    const int64_t panels = int8_panels(out);
    const int64_t half = random.below(panels + 1);
    pack_int8(plain, 0, half, packed_codes.data(), packed_scales.data());
    pack_int8(plain, half, panels, packed_codes.data(), packed_scales.data());
  }

  double at(int64_t o, int64_t k) const {
    constexpr double kValues[16] = {0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6};
    const uint8_t byte = plain.blocks[o * (plain.in / 2) + k / 2];
    return std::ldexp(kValues[k % 2 == 0 ? byte & 15 : byte >> 4], plain.scales[o * (plain.in / 32) + k / 32] - 127);
  }
};

// Rows of one level, in arrays before guard pages.
struct QuantisedRows {
  GuardedBytes values, scales, corrections;
  Int8Rows rows;

  QuantisedRows(int64_t count, int64_t in)
      : values(static_cast<size_t>(count * in)),
        scales(static_cast<size_t>(count * in / 32 * 4)),
        corrections(static_cast<size_t>(count * in / 32 * 4)),
        rows{reinterpret_cast<int8_t*>(values.data()), reinterpret_cast<float*>(scales.data()),
             reinterpret_cast<int32_t*>(corrections.data()), count, in} {}

  // Row r and those after it.
  Int8Rows from(int64_t r, int64_t count) const {
    const int64_t blocks = rows.in / 32;
    return {rows.values + r * rows.in, rows.scales + r * blocks, rows.corrections + r * blocks, count, rows.in};
  }
};

std::string name_of(const Int8Kernels& level, const Size& s) {
  return std::string(level.name) + " int8 in " + std::to_string(s.in) + " out " + std::to_string(s.out) + " rows " +
         std::to_string(s.rows) + " slice " + std::to_string(s.begin) + ".." + std::to_string(s.end);
}

void quantise_all(const Int8Kernels& level, const Floats& x, const QuantisedRows& to, Random& random) {
  const int64_t in = to.rows.in;
  for (int64_t r = 0; r < to.rows.count; r++) {
    for (int64_t at = 0; at < in;) {
      const int64_t blocks = 1 + random.below((in - at) / 32);
      level.quantise(x.data() + r * in + at, blocks, to.rows, r, at);
      at += blocks * 32;
    }
  }
}

void compare(const Size& s, Random& random, Mood mood) {
  const PackedMatrix w(s.in, s.out, random, mood);
  const Floats x(s.in * s.rows, random, mood);
  for (int64_t i = 0; random.below(4) == 0 && i < 32; i++) x.data()[i] = i % 2 == 0 ? 0.0f : -0.0f;
  const int64_t stride = s.out + random.below(4);
  const Floats expected(stride * (s.rows - 1) + s.out), actual(expected.count());
  const bool round = random.below(2) == 0;
  const QuantisedRows reference(s.rows, s.in);
  quantise_all(scalar_int8, x, reference, random);
  record(reference.rows.scales, s.rows * s.in / 32);
  expected.fill(kUntouched);
  scalar_int8.linear(w.packed, reference.rows, {expected.data(), s.rows, stride}, s.begin, s.end, round);
  record(expected.data(), expected.count());
  const Random at_this_point = random;
  for (const Int8Kernels* level : int8_levels()) {
    random = at_this_point;
    const std::string where = name_of(*level, s);
    const QuantisedRows own(s.rows, s.in);
    quantise_all(*level, x, own, random);
    if (std::memcmp(own.values.data(), reference.values.data(), own.values.size()) != 0) {
      fail(where, "quantises to other integers");
    }
    expect_same(where + ", scales", own.rows.scales, reference.rows.scales, s.rows * s.in / 32);
    for (const bool side_by_side : {false, true}) {
      const SideBySide reading(side_by_side);
      actual.fill(kUntouched);
      level->linear(w.packed, own.rows, {actual.data(), s.rows, stride}, s.begin, s.end, round);
      expect_same(where, actual.data(), expected.data(), expected.count());
      actual.fill(kUntouched);
      in_pieces(s, random, [&](int64_t r, int64_t rows, int64_t o, int64_t end) {
        level->linear(w.packed, own.from(r, rows), {actual.data() + r * stride, rows, stride}, o, end, round);
      });
      expect_same(where + " in pieces", actual.data(), expected.data(), expected.count());
    }
  }
  random = at_this_point;
}

// Blocks whose sums are as large as can be, in either sign: what a sum in 16 bits must hold.
void test_extreme_sums() {
  constexpr int64_t kIn = 64, kOut = 33, kRows = 5;
  Random random(6);
  for (const uint8_t codes : {0x77, 0xff, 0x7f, 0xf7}) {
    PackedMatrix w(kIn, kOut, random, Mood::kPlain);
    std::memset(w.blocks.data(), codes, w.blocks.size());
    pack_int8(w.plain, 0, int8_panels(kOut), w.packed_codes.data(), w.packed_scales.data());
    const Floats x(kIn * kRows), expected(kOut * kRows), actual(kOut * kRows);
    for (int64_t i = 0; i < x.count(); i++) x.data()[i] = i / kIn % 2 == 0 || i % 2 == 0 ? 3.0f : -3.0f;
    const QuantisedRows reference(kRows, kIn);
    quantise_all(scalar_int8, x, reference, random);
    scalar_int8.linear(w.packed, reference.rows, {expected.data(), kRows, kOut}, 0, kOut, false);
    for (const Int8Kernels* level : int8_levels()) {
      for (const int64_t rows : {int64_t{1}, kRows}) {
        const QuantisedRows own(kRows, kIn);
        quantise_all(*level, x, own, random);
        level->linear(w.packed, own.from(0, rows), {actual.data(), rows, kOut}, 0, kOut, false);
        expect_same(std::string(level->name) + " int8 at its extremes", actual.data(), expected.data(), rows * kOut);
      }
    }
  }
}

// The reference against double precision: quantising is off by at most half a step (and a rounding) per element, sums
// by a rounding per block.
void test_accuracy(int64_t in) {
  constexpr int64_t kOut = 19, kRows = 2;
  Random random(7);
  const PackedMatrix w(in, kOut, random, Mood::kPlain);
  const Floats x(in * kRows, random, Mood::kPlain), y(kOut * kRows);
  const QuantisedRows quantised(kRows, in);
  quantise_all(scalar_int8, x, quantised, random);
  scalar_int8.linear(w.packed, quantised.rows, {y.data(), kRows, kOut}, 0, kOut, false);
  for (int64_t r = 0; r < kRows; r++) {
    for (int64_t o = 0; o < kOut; o++) {
      double sum = w.plain.bias == nullptr ? 0 : w.bias.at(o);
      double magnitude = std::fabs(sum), steps = 0;
      for (int64_t k = 0; k < in; k++) {
        const double weight = w.at(o, k);
        sum += weight * x.data()[r * in + k];
        magnitude += std::fabs(weight * x.data()[r * in + k]);
        steps += std::fabs(weight) * 2 * quantised.rows.scales[r * (in / 32) + k / 32];
      }
      const double tolerance = steps * 0.501 + static_cast<double>(in / 32 + 6) * 0x1p-23 * magnitude;
      expect_near("scalar int8 in " + std::to_string(in), y.data()[r * kOut + o], sum, tolerance);
    }
  }
}

// The same sums of the quantised integers, in double precision: what is left is the rounding of a product and a sum per block.
void test_sums(int64_t in) {
  constexpr int64_t kOut = 19;
  Random random(8);
  const PackedMatrix w(in, kOut, random, Mood::kPlain);
  const Floats x(in, random, Mood::kPlain), y(kOut);
  const QuantisedRows quantised(1, in);
  quantise_all(scalar_int8, x, quantised, random);
  scalar_int8.linear(w.packed, quantised.rows, {y.data(), 1, kOut}, 0, kOut, false);
  for (int64_t o = 0; o < kOut; o++) {
    double sum = w.plain.bias == nullptr ? 0 : w.bias.at(o);
    double magnitude = std::fabs(sum);
    for (int64_t k = 0; k < in; k++) {
      const double value = quantised.rows.values[k / 8 * 8 + k % 2 * 4 + k % 8 / 2] * 2.0 * quantised.rows.scales[k / 32];
      sum += w.at(o, k) * value;
      magnitude += std::fabs(w.at(o, k) * value);
    }
    expect_near("scalar int8 sums in " + std::to_string(in), y.data()[o], sum,
                static_cast<double>(in / 32 + 4) * 0x1p-24 * magnitude);
  }
}

}  // namespace

void test_int8() {
  Random random(5);
  for (const Mood mood : kMoods) {
    for (const int64_t out : {1, 16, 50, 83}) {
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 67}) {
        for (const int64_t in : {32, 96}) {
          compare({in, out, rows, 0, out}, random, mood);
          compare(random_slice(in, out, rows, random), random, mood);
        }
      }
    }
    for (const int64_t rows : {1, 2, 3, 4, 9, 15}) {
      for (const int64_t in : {512, 544, 1120}) compare(random_slice(in, 70, rows, random), random, mood);
    }
  }
  test_extreme_sums();
  for (const int64_t in : {32, 96, 2880}) {
    test_accuracy(in);
    test_sums(in);
  }
}

// More rows than one filling of a tile serves, and more blocks than a tile has; behind the digests, of which they are no part.
void test_int8_many_rows() {
  Random random(9);
  for (const Mood mood : kMoods) compare({416, 83, 131, 0, 83}, random, mood);
}

}  // namespace moiety::self_test
