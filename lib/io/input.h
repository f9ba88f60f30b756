// Bytes and lines from files and standard input, decompressed by content (zstd, gzip, plain; multi-member files too).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace ds {

// A line without its newline. `text` is owned by the reader and lives until the next call; at least 64 readable bytes
// follow it (simdjson's padding).
struct Line {
  std::string_view text;
  const std::string* file = nullptr;  // its name as the user gave it; "<stdin>" for "-"
  uint64_t number = 0;                // from 1
};

// Lines of several inputs one after the other; "-" is standard input. A line longer than max_line_bytes, truncated
// compressed data and unreadable files are Errors that name file and line. A last line without newline counts; a CR
// before the newline is kept (records pass through byte for byte). Empty lines are given as they are.
class LineReader {
 public:
  LineReader(std::vector<std::string> files, size_t max_line_bytes);
  ~LineReader();
  bool next(Line& line);

  // As next(), but a line over the limit is handed out in parts, so that it can be put aside without being held in
  // memory: `more` for each part but its end, `last` for that. `end`: there is no further line.
  enum class Part : uint8_t { end, line, more, last };
  Part next_part(Line& line);

  struct InputSummary {
    std::string file;
    uint64_t bytes = 0;  // as stored
    uint64_t lines = 0;
    Hash128 hash;  // XXH3-128 of the stored bytes
  };
  // What has been read so far, a row an input; complete once next() returned false.
  std::vector<InputSummary> inputs() const;
  // Stored bytes read and their total (0 where unknown, as for a pipe), for progress.
  uint64_t bytes_read() const;
  uint64_t bytes_total() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A whole file, decompressed by content.
std::string read_file(const std::string& path);

// The same for a file of a model's folder, which another hand made: Error unless it is a regular file (a pipe or a device
// may never end), after following links, of at most `most` bytes, decompressed.
std::string read_regular_file(const std::string& path, size_t most);
constexpr size_t kMaxConfigBytes = size_t{16} << 20;      // config.json and its like, chat templates
constexpr size_t kMaxTokenizerBytes = size_t{256} << 20;  // tokenizer.json, model.safetensors.index.json

// A regular file mapped read-only; lives as long as this object.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  std::string_view bytes() const { return bytes_; }

 private:
  std::string_view bytes_;
};
// Frees the memory in which part of a MappedFile lies; where it is looked at again, it is read again.
void let_go(std::string_view mapped);

}  // namespace ds
