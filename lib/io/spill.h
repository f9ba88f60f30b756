// Bytes put aside on disk, to be read again later by their place: what would be too much to hold in memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ds {

// The folder of temporary files: $TMPDIR where it is set and not empty, else /var/tmp (on disk, where /tmp may be
// memory) if files can be made there, else /tmp.
std::string spill_folder();

// A file that only grows. Appends are buffered (1 MiB); reads see the buffered bytes too. All calls may come from
// several threads at once, except that nothing may be reading what truncate() cuts off. Errors name the folder of an
// anonymous file, or the named file: a full disk, a read beyond the end, a file that was cut short by another hand.
class Spill {
 public:
  // An anonymous file, gone with this object and with the process, however that ends.
  explicit Spill(const std::string& folder = spill_folder());
  // A named file that stays: made where it is not there, its bytes kept where it is. What was not flushed is lost.
  static Spill open(const std::string& path);
  ~Spill();
  Spill(Spill&&) noexcept;
  Spill& operator=(Spill&&) noexcept;

  // Puts bytes at the end and returns their offset.
  uint64_t append(std::string_view bytes);
  // Makes `bytes` the `size` bytes at an offset.
  void read(uint64_t offset, size_t size, std::string& bytes) const;
  // Writes out what is buffered: it outlives the process then (not a failure of power).
  void flush();
  // Forgets all from this size on; a size beyond the end is an Error.
  void truncate(uint64_t size);
  uint64_t size() const;  // bytes, the buffered ones too

 private:
  struct Impl;
  explicit Spill(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
