#include "mapped-file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fault.h"

namespace moiety {
namespace {

// What madvise works on: the whole pages that hold [data, data + length).
struct PageRange {
  uint8_t* begin;
  size_t length;
};

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

PageRange pages_of(const uint8_t* data, int64_t length) {
  const uintptr_t mask = page_size() - 1;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data) & ~mask;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(length) + mask) & ~mask;
  return {reinterpret_cast<uint8_t*>(begin), end - begin};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += format(i == 0 ? "%lld" : ", %lld", static_cast<long long>(shape[i]));
  return text + "]";
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw Fault(errno == ENOENT ? "NOT_FOUND" : "FAILED_PRECONDITION", format("cannot open %s: %s", path.c_str(), std::strerror(errno)));
  }
  struct stat status;
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) {
    ::close(descriptor);
    throw Fault("FAILED_PRECONDITION", format("%s is not a regular file with content", path.c_str()));
  }
  size_ = static_cast<int64_t>(status.st_size);
  void* const address = ::mmap(nullptr, static_cast<size_t>(size_), PROT_READ, MAP_SHARED, descriptor, 0);
  const int fault = errno;
  ::close(descriptor);
  if (address == MAP_FAILED) throw Fault("RESOURCE_EXHAUSTED", format("cannot map %s: %s", path.c_str(), std::strerror(fault)));
  data_ = static_cast<uint8_t*>(address);
  // Only what is asked for becomes resident: no read-ahead into the neighbours' experts.
  ::madvise(address, static_cast<size_t>(size_), MADV_RANDOM);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, static_cast<size_t>(size_));
}

std::shared_ptr<MappedFile> FileRegistry::open(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto known = files_.find(path);
  if (known != files_.end()) {
    if (auto file = known->second.lock()) return file;
    files_.erase(known);
  }
  auto file = std::make_shared<MappedFile>(path);
  files_[path] = file;
  return file;
}

void MappedTensor::populate(int64_t from, int64_t length) const {
  if (length == 0) return;
  const PageRange range = pages_of(data_ + from, length);
  ::madvise(range.begin, range.length, MADV_WILLNEED);
#ifdef MADV_POPULATE_READ
  if (::madvise(range.begin, range.length, MADV_POPULATE_READ) == 0) return;
  // EINVAL comes from a system that does not know this advice.
  if (errno != EINVAL) {
    const long long first = static_cast<long long>(data_ - file_->data() + from);
    throw Fault("DATA_LOSS", format("bytes %lld to %lld of %s cannot be read: %s", first, first + static_cast<long long>(length) - 1,
                                    file_->path().c_str(), std::strerror(errno)));
  }
#endif
  const size_t step = page_size();
  for (size_t at = 0; at < range.length; at += step) static_cast<void>(*static_cast<volatile uint8_t*>(range.begin + at));
}

void MappedTensor::release(int64_t from, int64_t length) const {
  const PageRange range = pages_of(data_ + from, length);
  ::madvise(range.begin, range.length, MADV_DONTNEED);
}

MappedTensor map_tensor(FileRegistry& files, const TensorRef& ref, const char* dtype, const std::vector<int64_t>& shape) {
  const auto where = [&] { return format("tensor %s in %s", ref.name.c_str(), ref.file.c_str()); };
  if (ref.dtype != dtype) invalid_argument(format("%s has dtype %s; %s was expected", where().c_str(), ref.dtype.c_str(), dtype));
  if (ref.shape != shape) {
    invalid_argument(format("%s has shape %s; %s was expected", where().c_str(), shape_text(ref.shape).c_str(), shape_text(shape).c_str()));
  }
  int64_t length = std::strcmp(dtype, "bf16") == 0 ? 2 : 1;
  for (const int64_t size : shape) length *= size;
  if (ref.length != length) {
    invalid_argument(format("%s is said to have %lld bytes; its shape has %lld", where().c_str(), static_cast<long long>(ref.length),
                            static_cast<long long>(length)));
  }
  auto file = files.open(ref.file);
  if (ref.offset < 0 || ref.offset > file->size() || length > file->size() - ref.offset) {
    throw Fault("DATA_LOSS", format("%s ends at byte %lld; the file has %lld bytes", where().c_str(),
                                    static_cast<long long>(ref.offset + length), static_cast<long long>(file->size())));
  }
  MappedTensor tensor;
  tensor.data_ = file->data() + ref.offset;
  tensor.length_ = length;
  tensor.file_ = file;
  const PageRange range = pages_of(tensor.data_, length);
  tensor.pages_ = std::shared_ptr<const void>(range.begin, [file, range](const void*) {
    ::madvise(range.begin, range.length, MADV_DONTNEED);
  });
  return tensor;
}

}  // namespace moiety
