// What the x86-64 levels of pairs.h share.
#pragma once
#include <immintrin.h>

namespace moiety {
namespace {

// Sets this thread's flush-to-zero and denormals-are-zero bits.
class FlushSubnormals {
 public:
  FlushSubnormals() : kept_(_mm_getcsr()) { _mm_setcsr(kept_ | 0x8040); }
  ~FlushSubnormals() { _mm_setcsr(kept_); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  const unsigned kept_;
};

}  // namespace
}  // namespace moiety
