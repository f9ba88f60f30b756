// Memory that grows in place, of the process or of a file that the system may write out when memory is short.
#pragma once
#include <cstddef>
#include <string>

namespace ds {

// Zeroed bytes; addresses change when it grows. Movable, owned by one.
class MappedMemory {
 public:
  // `path` empty: anonymous memory. Else a scratch file of that name, which has none as soon as it is made. The disk
  // space is taken when it grows, so that a full disk is an Error then and no signal later.
  explicit MappedMemory(std::string path = "");
  ~MappedMemory();
  MappedMemory(const MappedMemory&) = delete;
  void grow(size_t bytes);  // to at least so many; what is there stays
  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::string path_;
  int fd_ = -1;
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace ds
