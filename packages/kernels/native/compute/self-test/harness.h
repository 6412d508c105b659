// What the self test's parts share: random data, arrays that fault when overrun, the levels, and how a fault is told.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../compute.h"

namespace moiety::self_test {

// splitmix64: the same data on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  // Uniform in [-1, 1).
  float unit();

 private:
  uint64_t state_;
};

// What fills an array: values like a model's; tiny ones, whose products are subnormal or vanish; or values like a
// model's with NaN, infinities, subnormals, zeros and huge numbers among them.
enum class Mood { kPlain, kTiny, kWild };
constexpr Mood kMoods[] = {Mood::kPlain, Mood::kTiny, Mood::kWild};

// `count` elements that end right before an unreadable page: with an odd byte count, at an unaligned address.
class GuardedBytes {
 public:
  explicit GuardedBytes(size_t bytes);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void* mapping_;
  size_t mapping_size_;
  uint8_t* data_;
  size_t size_;
};

// Floats before a guard page; aligned as floats only.
class Floats {
 public:
  explicit Floats(int64_t count) : bytes_(static_cast<size_t>(count) * 4), count_(count) {}
  Floats(int64_t count, Random& random, Mood mood, float size = 1);
  float* data() const { return reinterpret_cast<float*>(bytes_.data()); }
  int64_t count() const { return count_; }
  void fill(float value) const;

 private:
  GuardedBytes bytes_;
  int64_t count_;
};

// bf16 numbers before a guard page, from an odd address when `shifted` (one byte stays unused behind them).
class Halves {
 public:
  Halves(int64_t count, Random& random, Mood mood, bool shifted, float size = 1);
  uint8_t* data() const { return bytes_.data(); }
  float at(int64_t i) const;

 private:
  GuardedBytes bytes_;
};

float any_float(Random& random, Mood mood);
uint16_t bf16_of(float value);
float float_of_bf16(uint16_t bits);

// Every vector level this CPU has, and the emulated one, which has AVX-512's shape.
const std::vector<const KernelTable*>& levels();
const KernelTable& scalar();

// What fills results before a linear writes its own.
constexpr float kUntouched = 12345.5f;

// A linear and the outputs [begin, end) of it that are computed.
struct Size {
  int64_t in, out, rows, begin, end;
};

Size random_slice(int64_t in, int64_t out, int64_t rows, Random& random);

// Calls body(row, rows, begin, end) for any grouping of a slice's rows, and any cut of its outputs within each group.
template <typename Body>
void in_pieces(const Size& s, Random& random, Body body) {
  for (int64_t r = 0; r < s.rows;) {
    const int64_t rows = 1 + random.below(s.rows - r);
    for (int64_t o = s.begin; o < s.end;) {
      const int64_t end = o + 1 + random.below(s.end - o);
      body(r, rows, o, end);
      o = end;
    }
    r += rows;
  }
}

// Says that a check failed, once per `where`, and counts it.
void fail(const std::string& where, const std::string& what);
int failures();

// Adds results of the reference to the digest, which main.cpp compares with the one all machines must find.
void record(const float* values, int64_t count);
uint64_t digest();

// The same bits, where any NaN equals any NaN.
void expect_same(const std::string& where, const float* actual, const float* expected, int64_t count);
void expect_near(const std::string& where, double actual, double expected, double tolerance);

// How one or two rows read packed weights, while an object of it lives.
class SideBySide {
 public:
  explicit SideBySide(bool side_by_side) : before_(reads_side_by_side) { reads_side_by_side = side_by_side; }
  ~SideBySide() { reads_side_by_side = before_; }
  SideBySide(const SideBySide&) = delete;
  SideBySide& operator=(const SideBySide&) = delete;

 private:
  const bool before_;
};

void test_linear();
void test_linear_accuracy();
void test_attention();
void test_rows();
void test_exp();
void test_int8();
void test_int8_many_rows();
void test_pairs_many();
void test_pairs();

}  // namespace moiety::self_test
