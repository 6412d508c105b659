// Memory for weights that were repacked: of its own, in huge pages where they fit.
#pragma once
#include <cstddef>
#include <cstdint>

namespace moiety {

class PackedMemory {
 public:
  PackedMemory() = default;
  // Zero-filled, at a page's boundary. Throws std::bad_alloc.
  explicit PackedMemory(int64_t bytes);
  ~PackedMemory();
  PackedMemory(PackedMemory&& other) noexcept;
  PackedMemory& operator=(PackedMemory&& other) noexcept;
  PackedMemory(const PackedMemory&) = delete;
  PackedMemory& operator=(const PackedMemory&) = delete;

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  void* mapping_ = nullptr;
  size_t mapped_bytes_ = 0;
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace moiety
