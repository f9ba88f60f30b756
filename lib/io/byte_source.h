// The bytes of a file or of standard input, decompressed by content; for .cpp files of this room only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/hash.h"

namespace ds {

// Plain, zstd and gzip, any number of frames or members one after the other. Errors say what is wrong without naming
// the file: the caller knows the line too.
class ByteSource {
 public:
  explicit ByteSource(const std::string& path);  // "-" is standard input
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  size_t read(char* out, size_t capacity);  // at most `capacity` bytes, 0 at the end only
  uint64_t stored_bytes() const { return stored_; }
  Hash128 hash() const { return hasher_.digest(); }  // XXH3-128 of the stored bytes read so far

 private:
  struct Decoder;
  struct Plain;
  struct Zstd;
  struct Gzip;
  size_t read_stored(char* out, size_t capacity);
  bool fill();  // more stored bytes into input_; false at the end
  void sniff();

  int fd_ = -1;
  bool owns_fd_ = false, ended_ = false;
  std::unique_ptr<char[]> input_;  // stored bytes [next_, size_) are not decoded yet
  size_t next_ = 0, size_ = 0;
  uint64_t stored_ = 0;
  Hasher hasher_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace ds
