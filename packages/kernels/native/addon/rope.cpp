#include "rope.h"

#include <algorithm>
#include <cmath>

namespace moiety {

RopeTable make_rope_table(const RopeShape& rope, int64_t head_dim) {
  const int64_t half = head_dim / 2;
  RopeTable table;
  table.concentration = rope.factor > 1.0 ? 0.1 * std::log(rope.factor) + 1.0 : 1.0;
  table.inverse_frequency.resize(static_cast<size_t>(half));
  // The pair whose wavelength makes `turns` turns within the original context.
  const auto pair_of = [&](double turns) {
    return static_cast<double>(half) * std::log(rope.original_context / (turns * 2.0 * M_PI)) / std::log(rope.theta);
  };
  double low = pair_of(rope.beta_fast);
  double high = pair_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (high <= low) high = low + 0.001;
  for (int64_t i = 0; i < half; ++i) {
    const double frequency = std::pow(rope.theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    table.inverse_frequency[static_cast<size_t>(i)] =
        rope.factor > 1.0 ? ramp / (rope.factor * frequency) + (1.0 - ramp) / frequency : 1.0 / frequency;
  }
  return table;
}

void RopeTable::at(int64_t position, float* cos, float* sin) const {
  for (size_t i = 0; i < inverse_frequency.size(); ++i) {
    const double angle = static_cast<double>(position) * inverse_frequency[i];
    cos[i] = static_cast<float>(std::cos(angle) * concentration);
    sin[i] = static_cast<float>(std::sin(angle) * concentration);
  }
}

}  // namespace moiety
