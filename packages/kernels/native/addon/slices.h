// How a range is cut into pieces that threads take one by one. The cut never changes a result, only how evenly threads are busy.
#pragma once
#include <algorithm>
#include <cstdint>

namespace moiety {

struct Slices {
  int64_t total;
  int64_t width;
  int64_t count() const { return (total + width - 1) / width; }
  int64_t begin(int64_t index) const { return index * width; }
  int64_t end(int64_t index) const { return std::min(total, (index + 1) * width); }
};

// Output columns of a linear. Several pieces per thread even out what the system takes away; a piece is at least 64
// columns, a multiple of every kernel's tile, so that a row's activations are not read too often.
inline Slices column_slices(int64_t columns, int threads, int64_t linears = 1) {
  const int64_t pieces = threads == 1 ? 1 : std::max<int64_t>(1, threads * 6 / linears);
  const int64_t width = (columns / pieces + 63) / 64 * 64;
  return {columns, std::clamp<int64_t>(width, 64, 1024)};
}

// Rows of elementwise work: pieces of at least 16 Ki elements, for a barrier costs as much.
inline Slices row_slices(int64_t rows, int64_t elements_per_row, int threads) {
  const int64_t least = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, elements_per_row));
  const int64_t even = (rows + threads * 4 - 1) / (threads * 4);
  return {rows, std::max(least, even)};
}

}  // namespace moiety
