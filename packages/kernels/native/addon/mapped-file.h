// Checkpoint files, mapped read-only and shared by every engine that reads them.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace moiety {

// Where a tensor lies, as the caller says; nothing in it is trusted before `map_tensor`.
struct TensorRef {
  std::string file;
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t offset = 0;
  int64_t length = 0;
};

class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const uint8_t* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  std::string path_;
  uint8_t* data_ = nullptr;
  int64_t size_ = 0;
};

// Opens each file once for as long as anyone uses it. Thread-safe.
class FileRegistry {
 public:
  std::shared_ptr<MappedFile> open(const std::string& path);

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<MappedFile>> files_;
};

// A tensor's bytes in a mapped file. Its pages are given back to the system with the last copy of `pages`.
class MappedTensor {
 public:
  MappedTensor() = default;
  const uint8_t* data() const { return data_; }
  int64_t length() const { return length_; }
  // Reads the tensor's pages in, so that the first use does not wait for the disk. Throws Fault DATA_LOSS when they cannot
  // be read: the disk fails, or the file was cut after it was mapped.
  void populate() const { populate(0, length_); }
  // The same for `length` bytes from `from` on.
  void populate(int64_t from, int64_t length) const;
  // Gives their pages back to the system early; whoever reads them again waits for them.
  void release(int64_t from, int64_t length) const;

 private:
  friend MappedTensor map_tensor(FileRegistry&, const TensorRef&, const char*, const std::vector<int64_t>&);
  std::shared_ptr<const MappedFile> file_;
  std::shared_ptr<const void> pages_;
  const uint8_t* data_ = nullptr;
  int64_t length_ = 0;
};

// Maps a tensor after checking its dtype ("bf16" or "u8"), shape, length and that it lies within its file.
// Throws Fault: INVALID_ARGUMENT for a reference that contradicts what is expected, NOT_FOUND or DATA_LOSS for the file.
MappedTensor map_tensor(FileRegistry& files, const TensorRef& ref, const char* dtype, const std::vector<int64_t>& shape);

}  // namespace moiety
