#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/sizes.h"
#include "io/byte_source.h"
#include "io/input.h"

namespace ds {

// `most`: Error for a longer one.
static std::string read_all(const std::string& path, size_t most) {
  try {
    ByteSource source(path);
    std::string bytes;
    for (size_t size = 0;;) {
      if (bytes.size() - size < size_t{64} << 10) bytes.resize(std::max(bytes.size() * 2, size_t{256} << 10));
      const size_t got = source.read(bytes.data() + size, bytes.size() - size);
      size += got;
      require(size <= most, "it has more than the ", format_bytes(most), " that such a file may have");
      if (got > 0) continue;
      bytes.resize(size);
      return bytes;
    }
  } catch (const Error& error) {
    fail(path == "-" ? "<stdin>" : path, ": ", error.what());
  }
}

std::string read_file(const std::string& path) { return read_all(path, SIZE_MAX); }

std::string read_regular_file(const std::string& path, size_t most) {
  struct stat found;
  const int failed = stat(path.c_str(), &found) == 0 ? 0 : errno;
  require(!failed, path, ": ", std::strerror(failed));
  require(S_ISREG(found.st_mode), path, ": not a regular file");
  return read_all(path, most);
}

MappedFile::MappedFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer is opened at once
  require(fd >= 0, path, ": ", std::strerror(errno));
  struct stat found;
  void* data = nullptr;
  int failed = fstat(fd, &found) != 0 ? errno : 0;
  if (!failed && S_ISDIR(found.st_mode)) failed = EISDIR;
  const bool regular = failed || S_ISREG(found.st_mode);
  if (!failed && regular && found.st_size > 0) {
    data = mmap(nullptr, static_cast<size_t>(found.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) failed = errno;
    else madvise(data, static_cast<size_t>(found.st_size), MADV_SEQUENTIAL);  // so that the system reads well ahead
  }
  close(fd);
  require(regular, path, ": not a regular file");
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
