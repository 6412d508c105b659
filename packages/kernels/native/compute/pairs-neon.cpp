// pairs.h at the NEON level: a pair is two multiply-adds of f32 (the bf16 dot product of AArch64 rounds otherwise).
#include "pairs.h"

#if defined(__aarch64__)
#include "neon-vec.h"

namespace moiety {
namespace {

constexpr int kPairVectors[] = {8, 8, 4, 4};
constexpr int kPairStreams[] = {1};

inline uint32x4_t load_words(const uint8_t* p) { return vreinterpretq_u32_u8(vld1q_u8(p)); }
inline Vec odd_of(const uint8_t* p) { return from_bits(vandq_u32(load_words(p), vdupq_n_u32(0xffff0000))); }
inline Vec even_of(const uint8_t* p) { return from_bits(vshlq_n_u32(load_words(p), 16)); }
inline void keep(Vec& a) { asm("" : "+w"(a.v)); }

// Sets this thread's flush-to-zero bit.
class FlushSubnormals {
 public:
  FlushSubnormals() {
    asm volatile("mrs %0, fpcr" : "=r"(kept_));
    asm volatile("msr fpcr, %0" : : "r"(kept_ | uint64_t{1} << 24) : "memory");
  }
  ~FlushSubnormals() { asm volatile("msr fpcr, %0" : : "r"(kept_) : "memory"); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  uint64_t kept_;
};

}  // namespace
}  // namespace moiety

#include "pairs-by-fma.h"
#include "pairs-simd.h"

namespace moiety {
const PairKernels neon_pairs = pair_table("neon");
}  // namespace moiety

#endif
