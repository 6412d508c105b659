// Working memory of operations, kept between them. Contents are undefined at the start of an operation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace moiety {

// An array that grows and is never copied; aligned to a cache line.
template <class T>
class Buffer {
 public:
  T* need(int64_t count) {
    if (count > capacity_) {
      memory_.reset();
      const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
      memory_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
      if (!memory_) {
        capacity_ = 0;
        throw std::bad_alloc();
      }
      capacity_ = count;
    }
    return memory_.get();
  }
  T* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  std::unique_ptr<T, Free> memory_;
  int64_t capacity_ = 0;
};

// One buffer per thread of the pool.
template <class T>
class ThreadBuffers {
 public:
  // Called between phases.
  void set_threads(int threads) {
    if (buffers_.size() < static_cast<size_t>(threads)) buffers_.resize(static_cast<size_t>(threads));
  }
  T* need(int thread, int64_t count) { return buffers_[static_cast<size_t>(thread)].need(count); }

 private:
  std::vector<Buffer<T>> buffers_;
};

}  // namespace moiety
