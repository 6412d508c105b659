// A pair as two multiply-adds of f32, for levels without an instruction for it. Included after a level has defined odd_of and
// even_of, which give the elements of each word as floats.
#pragma once

namespace moiety {
namespace {

inline Vec dot(Vec total, Words weights, Words activations) {
  return fma(even_of(weights), even_of(activations), fma(odd_of(weights), odd_of(activations), total));
}

}  // namespace
}  // namespace moiety
