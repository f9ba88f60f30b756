#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "io/byte_source.h"
#include "io/input.h"

namespace ds {

std::string read_file(const std::string& path) {
  try {
    ByteSource source(path);
    std::string bytes;
    for (size_t size = 0;;) {
      if (bytes.size() - size < size_t{64} << 10) bytes.resize(std::max(bytes.size() * 2, size_t{256} << 10));
      const size_t got = source.read(bytes.data() + size, bytes.size() - size);
      size += got;
      if (got > 0) continue;
      bytes.resize(size);
      return bytes;
    }
  } catch (const Error& error) {
    fail(path == "-" ? "<stdin>" : path, ": ", error.what());
  }
}

MappedFile::MappedFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require(fd >= 0, path, ": ", std::strerror(errno));
  struct stat found;
  void* data = nullptr;
  int failed = fstat(fd, &found) != 0 ? errno : S_ISREG(found.st_mode) ? 0 : S_ISDIR(found.st_mode) ? EISDIR : EINVAL;
  if (!failed && found.st_size > 0) {
    data = mmap(nullptr, static_cast<size_t>(found.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) failed = errno;
    else madvise(data, static_cast<size_t>(found.st_size), MADV_SEQUENTIAL);  // so that the system reads well ahead
  }
  close(fd);
  require(failed == 0, path, ": cannot map it: ", std::strerror(failed));
  if (data) bytes_ = {static_cast<const char*>(data), static_cast<size_t>(found.st_size)};
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

void let_go(std::string_view mapped) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(mapped.data());
  const uintptr_t first = (begin + page - 1) / page * page, last = (begin + mapped.size()) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace ds
