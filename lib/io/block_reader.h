// Lines of several inputs, a block of them at a time, as views into shared buffers that are used again and again; for
// .cpp files of this room only. LineReader gives the same lines one by one.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/byte_source.h"
#include "io/input.h"

namespace ds {

constexpr size_t kBlockPadding = 64;  // readable bytes after each line
constexpr size_t kBlockLines = 1024;  // at most in a block

// The bytes live as long as `bytes` is held, by this block or by a copy of the pointer.
struct Block {
  std::shared_ptr<const char[]> bytes;
  std::string_view text;                // the lines below with their newlines; the last of an input may have none
  std::vector<std::string_view> lines;  // without newlines; at least one
  LineReader::Part part = LineReader::Part::end;  // line: whole lines; more and last: the one line is such a part
  const std::string* file = nullptr;
  uint64_t number = 0;  // of the first line in its file, from 1
  uint64_t index = 0;   // of the first line among those of all inputs, from 0
};

// See LineReader for what is an Error. A line in a whole block may be longer than the limit by less than a block: that
// is for the caller to see. A UTF-8 byte order mark at the beginning of an input belongs to no line: it is left out.
class BlockReader {
 public:
  BlockReader(std::vector<std::string> files, size_t max_line_bytes);
  bool next(Block& block);  // false at the end; the block's bytes are given back first
  std::vector<LineReader::InputSummary> inputs() const;
  uint64_t bytes_read() const { return finished_ + (source_ ? source_->stored_bytes() : 0); }
  uint64_t bytes_total() const { return total_; }
  size_t max_line_bytes() const { return max_line_; }

 private:
  struct Buffer;
  struct Pool;
  LineReader::InputSummary& summary() { return inputs_[current_]; }
  void make_room();
  bool read_more();
  void find_lines(size_t from);
  void end_input();
  bool hand_out_lines(Block& block, size_t end);
  bool hand_out_part(Block& block, size_t length, size_t newline, bool more);
  void place(Block& block, size_t length);

  std::vector<LineReader::InputSummary> inputs_;  // names as messages call them; never resized, blocks point at them
  std::vector<std::string> paths_;
  size_t max_line_;
  uint64_t total_ = 0, finished_ = 0;  // stored bytes: of all inputs, of those read to their end
  size_t current_ = 0;                 // index of the input being read
  std::unique_ptr<ByteSource> source_;
  std::shared_ptr<Pool> pool_;
  std::shared_ptr<Buffer> buffer_;
  size_t begin_ = 0, end_ = 0;          // bytes of the buffer that are not handed out
  size_t lines_end_ = 0;                // of them, those before here are whole lines
  uint64_t lines_ = 0, all_lines_ = 0;  // begun in this input; in all
  bool inside_long_line_ = false;
};

}  // namespace ds
