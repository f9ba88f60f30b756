#include "io/mapped_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/sizes.h"

namespace ds {

MappedMemory::MappedMemory(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  require(fd_ >= 0, path_, ": cannot be made: ", std::strerror(errno));
  unlink(path_.c_str());  // gone with the process, however that ends
}

MappedMemory::~MappedMemory() {
  if (data_) munmap(data_, size_);
  if (fd_ >= 0) close(fd_);
}

void MappedMemory::grow(size_t bytes) {
  if (bytes <= size_) return;
  bytes = round_up(checked_add(bytes, size_t{1} << 16, "memory"), size_t{1} << 16);
  if (fd_ >= 0) {
    const int failed = posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
    if (failed != 0) system_fail(path_, ": cannot grow to ", format_bytes(bytes), ": ", std::strerror(failed));
  }
  void* mapped;
  if (!data_)
    mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, fd_ >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd_, 0);
  else
    mapped = mremap(data_, size_, bytes, MREMAP_MAYMOVE);
  if (mapped == MAP_FAILED)
    system_fail("cannot grow to ", format_bytes(bytes), ": ", std::strerror(errno),
                fd_ >= 0 ? "" : " (the index can live on disk: --index DIR)");
  data_ = static_cast<char*>(mapped);
  size_ = bytes;
}

}  // namespace ds
