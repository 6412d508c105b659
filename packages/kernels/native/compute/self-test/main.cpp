// Compares every level of this CPU with the scalar reference, bit for bit, and the reference with double precision.
// Exits with 1 when anything differs.
#include <cstdio>

#include "harness.h"

int main() {
  using namespace moiety::self_test;
  test_exp();
  test_rows();
  test_linear();
  test_linear_accuracy();
  test_attention();
  std::printf("levels compared with scalar:");
  for (const auto* level : levels()) std::printf(" %s", level->name);
  if (failures() > 0) {
    std::printf("\n%d checks failed\n", failures());
    return 1;
  }
  std::printf("\nall bits are the same\n");
  return 0;
}
