// Bytes to files and standard output: a file appears whole under its final name or not at all.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/hash.h"

namespace ds {

// `path` "" or "-" is standard output; a name ending in .zst is compressed (level 3; the bytes do not depend on
// threads). A named file is written as a temporary beside it, and renamed by commit(). Without commit() the temporary
// is removed, by the destructor or, after a signal, by remove_temporaries(); what a killed run left beside the same
// file is removed by the next one. Devices and pipes (/dev/null, /dev/fd/63) are written in place; a symbolic link
// keeps pointing at the file that is replaced. Writes are buffered until finish(). Write errors (full disk) are Errors
// that name the file; a closed pipe throws ClosedPipe.
struct ClosedPipe {};

class OutputFile {
 public:
  explicit OutputFile(std::string path, bool durable = false);  // durable: commit() fsyncs bytes and folder entry
  ~OutputFile();
  OutputFile(OutputFile&&) noexcept;
  void write(std::string_view bytes);
  void finish();                    // writes out all that is buffered; what can fail for want of space fails here
  void commit();                    // finish() where it was not called, close, rename; call exactly once
  uint64_t bytes() const;           // as stored, complete after finish()
  Hash128 hash() const;             // XXH3-128 of the stored bytes, complete after finish()
  const std::string& path() const;  // as given; "<stdout>" for standard output

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Async-signal-safe: unlinks every temporary that has not been committed.
void remove_temporaries() noexcept;

// A whole file, atomically; with `durable` its bytes and the folder entry are fsynced.
void write_file(const std::string& path, std::string_view bytes, bool durable = false);

// Renames a finished folder to its final name and fsyncs the parent: a checkpoint appears whole.
void publish_folder(const std::string& temporary, const std::string& final_name);

}  // namespace ds
