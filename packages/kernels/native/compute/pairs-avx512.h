// pairs.h at the AVX-512 level (F, BW, VL, DQ), but for how a pair is multiplied: pairs-avx512*.cpp.
#pragma once
#include "avx512-vec.h"
#include "pairs-x86.h"

namespace moiety {
namespace {

struct Words {
  __m512i v;
};

inline Words load_words(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline Words broadcast_word(const uint16_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {_mm512_set1_epi32(word)};
}

}  // namespace
}  // namespace moiety
