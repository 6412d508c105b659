#include "packed-memory.h"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace moiety {
namespace {

constexpr size_t kHugePage = size_t{1} << 21;

}  // namespace

// Reserved with room to begin at a huge page's boundary; nothing of that room is ever touched. What follows the last whole
// huge page stays in small ones, so that no memory is resident that nobody uses.
PackedMemory::PackedMemory(int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const size_t wanted = static_cast<size_t>(bytes);
  const size_t whole = wanted / kHugePage * kHugePage;
  mapped_bytes_ = wanted + (whole > 0 ? kHugePage : 0);
  void* const mapping = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = mapping;
  data_ = static_cast<uint8_t*>(mapping);
  if (whole == 0) return;
  data_ += (kHugePage - reinterpret_cast<uintptr_t>(mapping) % kHugePage) % kHugePage;
#ifdef MADV_HUGEPAGE
  // Advice: where the system does not follow it, pages are small.
  ::madvise(data_ + whole, static_cast<size_t>(static_cast<uint8_t*>(mapping) + mapped_bytes_ - (data_ + whole)), MADV_NOHUGEPAGE);
  ::madvise(data_, whole, MADV_HUGEPAGE);
#endif
}

PackedMemory::~PackedMemory() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_bytes_);
}

PackedMemory::PackedMemory(PackedMemory&& other) noexcept { *this = std::move(other); }

PackedMemory& PackedMemory::operator=(PackedMemory&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace moiety
