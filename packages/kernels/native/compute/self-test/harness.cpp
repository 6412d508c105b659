// See harness.h.
#include "harness.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <set>

namespace moiety {
extern const KernelTable emulated_table;
}

namespace moiety::self_test {

uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

float Random::unit() { return static_cast<float>(static_cast<int64_t>(next() >> 40) - (1 << 23)) / (1 << 23); }

float any_float(Random& random, Mood mood) {
  if (mood == Mood::kWild && random.below(6) == 0) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float values[] = {0.0f,   -0.0f,  1e-45f,     -1e-45f,    1.1754942e-38f, -3e-39f, 3e38f,
                            -3e38f, 1e20f,  -1e20f,     1e-30f,     -1e-30f,        -1e30f,  104.0f};
    const int64_t kind = random.below(400);
    if (kind == 0) return std::numeric_limits<float>::quiet_NaN();
    if (kind == 1) return kInfinity;
    if (kind == 2) return -kInfinity;
    return values[kind % (sizeof values / sizeof *values)];
  }
  const float value = random.unit();
  if (mood == Mood::kTiny) return std::ldexp(value, static_cast<int>(-random.below(150)));
  return value * value * value * 4;
}

uint16_t bf16_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>(bits >> 16);
}

float float_of_bf16(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

GuardedBytes::GuardedBytes(size_t bytes) : size_(bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t body = (bytes + page - 1) / page * page;
  mapping_size_ = body + page;
  mapping_ = mmap(nullptr, mapping_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) std::abort();
  if (mprotect(static_cast<uint8_t*>(mapping_) + body, page, PROT_NONE) != 0) std::abort();
  data_ = static_cast<uint8_t*>(mapping_) + body - bytes;
}

GuardedBytes::~GuardedBytes() { munmap(mapping_, mapping_size_); }

Floats::Floats(int64_t count, Random& random, Mood mood, float size) : Floats(count) {
  for (int64_t i = 0; i < count; i++) data()[i] = any_float(random, mood) * size;
}

void Floats::fill(float value) const {
  for (int64_t i = 0; i < count_; i++) data()[i] = value;
}

Halves::Halves(int64_t count, Random& random, Mood mood, bool shifted, float size)
    : bytes_(static_cast<size_t>(count) * 2 + (shifted ? 1 : 0)) {
  for (int64_t i = 0; i < count; i++) {
    const uint16_t half = bf16_of(any_float(random, mood) * size);
    std::memcpy(data() + 2 * i, &half, 2);
  }
}

float Halves::at(int64_t i) const {
  uint16_t half;
  std::memcpy(&half, data() + 2 * i, 2);
  return float_of_bf16(half);
}

const std::vector<const KernelTable*>& levels() {
  static const std::vector<const KernelTable*> all = [] {
    std::vector<const KernelTable*> found = {&emulated_table};
    for (const char* name : {"avx2", "avx512", "neon"}) {
      if (const KernelTable* table = kernel_table(name)) found.push_back(table);
    }
    return found;
  }();
  return all;
}

const KernelTable& scalar() { return *kernel_table("scalar"); }

namespace {
int failure_count = 0;
std::set<std::string> told;
}  // namespace

Size random_slice(int64_t in, int64_t out, int64_t rows, Random& random) {
  const int64_t begin = random.below(out);
  return {in, out, rows, begin, begin + 1 + random.below(out - begin)};
}

void fail(const std::string& where, const std::string& what) {
  failure_count++;
  if (told.size() < 40 && told.insert(where).second) std::printf("FAIL %s: %s\n", where.c_str(), what.c_str());
}

int failures() { return failure_count; }

namespace {
uint64_t fnv1a = 0xcbf29ce484222325u;
}

void record(const float* values, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits = 0x7fc00000;
    if (!std::isnan(values[i])) std::memcpy(&bits, values + i, 4);
    fnv1a = (fnv1a ^ bits) * 0x100000001b3u;
  }
}

uint64_t digest() { return fnv1a; }

void expect_same(const std::string& where, const float* actual, const float* expected, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    if (std::isnan(actual[i]) && std::isnan(expected[i])) continue;
    if (std::memcmp(actual + i, expected + i, 4) == 0) continue;
    char what[128];
    std::snprintf(what, sizeof what, "element %lld is %a, expected %a", static_cast<long long>(i),
                  static_cast<double>(actual[i]), static_cast<double>(expected[i]));
    return fail(where, what);
  }
}

void expect_near(const std::string& where, double actual, double expected, double tolerance) {
  if (std::fabs(actual - expected) <= tolerance) return;
  char what[128];
  std::snprintf(what, sizeof what, "%.9g, expected %.9g within %.3g", actual, expected, tolerance);
  fail(where, what);
}

}  // namespace moiety::self_test
