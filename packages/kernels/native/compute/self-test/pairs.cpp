// bf16 rows times packed weights at odd sizes, slices, addresses and values; and against double precision.
#include "../pairs.h"

#include <cmath>
#include <cstring>

#include "harness.h"

namespace moiety::self_test {
namespace {

const std::vector<const PairKernels*>& pair_levels() {
  static const std::vector<const PairKernels*> all = [] {
    std::vector<const PairKernels*> found;
    for (const char* name : {"avx2", "avx512", "avx512-plain", "neon"}) {
      if (const PairKernels* level = pair_kernels(name)) found.push_back(level);
    }
    return found;
  }();
  return all;
}

// A matrix in the checkpoint's form and packed, from an odd address on.
struct PackedMatrix {
  Halves weight, bias;
  GuardedBytes words;
  Bf16Linear plain;
  PairLinear packed;

  PackedMatrix(int64_t in, int64_t out, Random& random, Mood mood)
      : weight(in * out, random, mood, random.below(2) == 0),
        bias(out, random, mood, random.below(2) == 0),
        words(static_cast<size_t>(pair_bytes(in, out)) + 1),
        plain{weight.data(), random.below(3) == 0 ? nullptr : bias.data(), in, out},
        packed{words.data(), plain.bias, in, out} {
    const int64_t panels = pair_panels(out), half = random.below(panels + 1);
    pack_pairs(plain, 0, half, words.data());
    pack_pairs(plain, half, panels, words.data());
  }
};

// Rows with a zero behind an odd number of elements, before a guard page.
struct RowsOfBf16 {
  int64_t stride;
  GuardedBytes bytes;

  RowsOfBf16(int64_t count, int64_t in, Random& random, Mood mood)
      : stride((in + 1) / 2 * 2 + 2 * random.below(3)), bytes(static_cast<size_t>(((count - 1) * stride + (in + 1) / 2 * 2) * 2)) {
    std::memset(bytes.data(), 0, bytes.size());
    for (int64_t r = 0; r < count; r++) {
      for (int64_t k = 0; k < in; k++) {
        const uint16_t value = bf16_of(any_float(random, mood));
        std::memcpy(bytes.data() + (r * stride + k) * 2, &value, 2);
      }
    }
  }
  Bf16Rows from(int64_t r, int64_t count) const { return {reinterpret_cast<const uint16_t*>(bytes.data()) + r * stride, count, stride}; }
  float at(int64_t r, int64_t k) const { return float_of_bf16(from(r, 1).data[k]); }
};

std::string name_of(const PairKernels& level, const Size& s) {
  return std::string(level.name) + " pairs in " + std::to_string(s.in) + " out " + std::to_string(s.out) + " rows " +
         std::to_string(s.rows) + " slice " + std::to_string(s.begin) + ".." + std::to_string(s.end);
}

void compare(const Size& s, Random& random, Mood mood) {
  const PackedMatrix w(s.in, s.out, random, mood);
  const RowsOfBf16 x(s.rows, s.in, random, mood);
  const int64_t stride = s.out + random.below(4);
  const Floats expected(stride * (s.rows - 1) + s.out), actual(expected.count());
  const bool round = random.below(2) == 0;
  expected.fill(kUntouched);
  scalar_pairs.linear(w.packed, x.from(0, s.rows), {expected.data(), s.rows, stride}, s.begin, s.end, round);
  record(expected.data(), expected.count());
  const Random at_this_point = random;
  for (const PairKernels* level : pair_levels()) {
    random = at_this_point;
    const std::string where = name_of(*level, s);
    for (const bool side_by_side : {false, true}) {
      const SideBySide reading(side_by_side);
      actual.fill(kUntouched);
      level->linear(w.packed, x.from(0, s.rows), {actual.data(), s.rows, stride}, s.begin, s.end, round);
      expect_same(where, actual.data(), expected.data(), expected.count());
      actual.fill(kUntouched);
      in_pieces(s, random, [&](int64_t r, int64_t rows, int64_t o, int64_t end) {
        level->linear(w.packed, x.from(r, rows), {actual.data() + r * stride, rows, stride}, o, end, round);
      });
      expect_same(where + " in pieces", actual.data(), expected.data(), expected.count());
    }
  }
  random = at_this_point;
}

// The reference against double precision: within `in` roundings of the sum of magnitudes.
void test_accuracy(int64_t in) {
  constexpr int64_t kOut = 19, kRows = 2;
  Random random(10);
  const PackedMatrix w(in, kOut, random, Mood::kPlain);
  const RowsOfBf16 x(kRows, in, random, Mood::kPlain);
  const Floats y(kOut * kRows);
  scalar_pairs.linear(w.packed, x.from(0, kRows), {y.data(), kRows, kOut}, 0, kOut, false);
  for (int64_t r = 0; r < kRows; r++) {
    for (int64_t o = 0; o < kOut; o++) {
      double sum = w.plain.bias == nullptr ? 0 : w.bias.at(o);
      double magnitude = std::fabs(sum);
      for (int64_t k = 0; k < in; k++) {
        const double product = static_cast<double>(w.weight.at(o * in + k)) * x.at(r, k);
        sum += product;
        magnitude += std::fabs(product);
      }
      expect_near("scalar pairs in " + std::to_string(in), y.data()[r * kOut + o], sum, static_cast<double>(in + 2) * 0x1p-24 * magnitude);
    }
  }
}

}  // namespace

void test_pairs() {
  Random random(9);
  for (const Mood mood : kMoods) {
    for (const int64_t out : {1, 16, 64, 83, 130}) {
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 11, 13}) {
        for (const int64_t in : {1, 2, 7, 32, 101}) {
          compare({in, out, rows, 0, out}, random, mood);
          compare(random_slice(in, out, rows, random), random, mood);
        }
      }
    }
    for (const int64_t rows : {1, 5, 67}) compare(random_slice(544, 70, rows, random), random, mood);
  }
  for (const int64_t in : {1, 33, 96, 2880}) test_accuracy(in);
}

// Panels four at a time, more rows than a panel meets at once, and a last part of an odd length; behind the digests, of which they are no part.
void test_pairs_many() {
  Random random(11);
  for (const Mood mood : kMoods) {
    for (const int64_t rows : {1, 2}) {
      compare({161, 581, rows, 0, 581}, random, mood);
      compare(random_slice(161, 581, rows, random), random, mood);
    }
    compare({545, 83, 131, 0, 83}, random, mood);
  }
}

}  // namespace moiety::self_test
