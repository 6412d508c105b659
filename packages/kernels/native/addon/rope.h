// Rotary position embedding with YaRN, in double.
#pragma once
#include <cstdint>
#include <vector>

#include "model-shape.h"

namespace moiety {

struct RopeTable {
  // [head_dim/2] radians per position.
  std::vector<double> inverse_frequency;
  // Both cos and sin are multiplied by it: 0.1 ln(factor) + 1.
  double concentration;

  // cos and sin [head_dim/2] at one position.
  void at(int64_t position, float* cos, float* sin) const;
};

// Source: gpt_oss/torch/model.py, RotaryEmbedding; a factor of 1 or less is plain RoPE.
RopeTable make_rope_table(const RopeShape& rope, int64_t head_dim);

}  // namespace moiety
