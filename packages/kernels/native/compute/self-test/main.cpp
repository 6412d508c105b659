// Compares every level of this CPU with the scalar reference, bit for bit, and the reference with double precision.
// Exits with 1 when anything differs.
#include <cstdio>

#include "harness.h"

// The bits of every result of the reference, found on x86-64 and AArch64 alike. It changes when the test's data do, and
// otherwise only with a deliberate change of the arithmetic: then the kernels' family must get a new name, because
// processes of the old and the new build no longer give the same tokens.
constexpr uint64_t kDigest = 0x9f4204b53871433b;
// After the results with int8 activations, whose arithmetic is a family of its own.
constexpr uint64_t kInt8Digest = 0x027209f2d3c9bc92;
// After the linears of bf16 rows, in the order of pairs.
constexpr uint64_t kPairsDigest = 0x405bb8da637075c0;

void check_digest(const char* what, uint64_t expected) {
  using namespace moiety::self_test;
  if (digest() == expected) return;
  std::printf("the digest is 0x%016llx\n", static_cast<unsigned long long>(digest()));
  fail(what, "the reference gives other bits than before");
}

int main() {
  using namespace moiety::self_test;
  test_exp();
  test_rows();
  test_linear();
  test_linear_accuracy();
  test_attention();
  check_digest("digest", kDigest);
  test_int8();
  check_digest("digest with int8", kInt8Digest);
  test_pairs();
  check_digest("digest with pairs", kPairsDigest);
  test_int8_many_rows();
  test_pairs_many();
  std::printf("levels compared with scalar:");
  for (const auto* level : levels()) std::printf(" %s", level->name);
  if (failures() > 0) {
    std::printf("\n%d checks failed\n", failures());
    return 1;
  }
  std::printf("\nall bits are the same\n");
  return 0;
}
