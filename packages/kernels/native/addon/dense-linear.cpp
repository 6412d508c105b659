#include "dense-linear.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace moiety {
namespace {

constexpr int64_t kPieceBytes = int64_t{16} << 20;

// Calls body(index) for every index in [0, count) on this thread and, if the system gives them, on `threads - 1` others.
// Rethrows the first exception.
template <class Body>
void for_each_index(int64_t count, int threads, const Body& body) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (int64_t index = next++; index < count; index = next++) body(index);
    } catch (...) {
      next = count;
      std::lock_guard<std::mutex> lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  try {
    while (static_cast<int64_t>(others.size()) + 1 < std::min<int64_t>(threads, count)) others.emplace_back(work);
  } catch (const std::system_error&) {
    // Those that there are do it.
  }
  work();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void pack(DenseLinear& linear, int threads) {
  const Bf16Linear from = linear.plain;
  linear.packed = PackedMemory(pair_bytes(from.in, from.out));
  const int64_t panel_bytes = kPairPanel * from.in * 2;
  const int64_t panels = pair_panels(from.out);
  const int64_t piece = std::max<int64_t>(1, kPieceBytes / panel_bytes);
  for_each_index((panels + piece - 1) / piece, threads, [&](int64_t index) {
    const int64_t begin = index * piece;
    const int64_t end = std::min(panels, begin + piece);
    const int64_t first = begin * panel_bytes;
    const int64_t length = std::min(linear.weight.length(), end * panel_bytes) - first;
    linear.weight.populate(first, length);
    pack_pairs(from, begin, end, linear.packed.data());
    linear.weight.release(first, length);
  });
  linear.pairs = {linear.packed.data(), from.bias, from.in, from.out};
  linear.plain = {};
  linear.weight = {};
}

void DenseRows::need(int64_t count, int64_t width) {
  width_ = width;
  stride_ = (width + 1) / 2 * 2;
  floats_.need(count * width);
  if (pairs_ == nullptr) return;
  words_.need(count * stride_);
  for (int64_t i = 0; width % 2 != 0 && i < count; ++i) words_.data()[i * stride_ + width] = 0;
}

void DenseRows::put(int64_t index, int64_t at, int64_t count) {
  if (pairs_ == nullptr) return;
  kernels_.to_bf16(row(index) + at, reinterpret_cast<uint8_t*>(words_.data() + index * stride_ + at), count);
}

void DenseRows::multiply(const DenseLinear& linear, Rows y, int64_t begin, int64_t end, bool round) const {
  if (pairs_ != nullptr) return pairs_->linear(linear.pairs, {words_.data(), y.count, stride_}, y, begin, end, round);
  kernels_.linear_bf16(linear.plain, {floats_.data(), y.count, width_}, y, begin, end, round);
}

}  // namespace moiety
