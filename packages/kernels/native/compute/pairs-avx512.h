// pairs.h at the AVX-512 level (F, BW, VL, DQ), but for how a pair is multiplied: pairs-avx512*.cpp.
#pragma once
#include "avx512-vec.h"
#include "pairs-x86.h"

namespace moiety {
namespace {

inline __m512i load_words(const void* p) { return _mm512_loadu_si512(p); }

}  // namespace
}  // namespace moiety
