#include "io/block_reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/error.h"

namespace ds {

// Small enough to stay in a core's cache from the read to the write.
static constexpr size_t kBlock = size_t{256} << 10;
static constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

struct BlockReader::Buffer {
  size_t capacity;  // without the padding
  std::unique_ptr<char[]> bytes = std::make_unique_for_overwrite<char[]>(capacity + kBlockPadding);
};

// Buffers of the usual size come back here when nothing refers to them any more, and the last one goes out first.
struct BlockReader::Pool : std::enable_shared_from_this<Pool> {
  std::mutex mutex;
  std::vector<std::unique_ptr<Buffer>> free;

  std::shared_ptr<Buffer> take(size_t capacity) {
    std::unique_ptr<Buffer> buffer;
    if (capacity == kBlock) {
      const std::lock_guard lock(mutex);
      if (!free.empty()) {
        buffer = std::move(free.back());
        free.pop_back();
      }
    }
    if (!buffer) buffer.reset(new Buffer{capacity});
    return {buffer.release(), [pool = shared_from_this()](Buffer* returned) {
              std::unique_ptr<Buffer> owned(returned);
              if (owned->capacity != kBlock) return;
              const std::lock_guard lock(pool->mutex);
              pool->free.push_back(std::move(owned));
            }};
  }
};

BlockReader::BlockReader(std::vector<std::string> files, size_t max_line_bytes)
    : max_line_(max_line_bytes), pool_(std::make_shared<Pool>()) {
  bool known = true;
  for (std::string& path : files) {
    struct stat found;
    if (path == "-") {
      known = known && fstat(0, &found) == 0 && S_ISREG(found.st_mode);
    } else {
      if (stat(path.c_str(), &found) != 0) fail(path, ": ", std::strerror(errno));
      known = known && S_ISREG(found.st_mode);
    }
    if (known) total_ += static_cast<uint64_t>(found.st_size);
    inputs_.push_back({path == "-" ? "<stdin>" : path, 0, 0, {}});
    paths_.push_back(std::move(path));
  }
  if (!known) total_ = 0;
}

// Enough free bytes behind end_ for a read. Blocks that were handed out may refer to the buffer: what is left of it
// moves into another one.
void BlockReader::make_room() {
  if (buffer_ && buffer_->capacity - end_ >= kBlock / 4) return;
  const size_t kept = end_ - begin_;
  const size_t wanted = kept <= kBlock / 2 ? kBlock : std::min(kept * 2, max_line_) + kBlock;
  std::shared_ptr<Buffer> other = pool_->take(wanted);
  if (kept > 0) std::memcpy(other->bytes.get(), buffer_->bytes.get() + begin_, kept);
  buffer_ = std::move(other);
  begin_ = lines_end_ = 0;
  end_ = kept;
}

// Appends more of the current input. False at its end.
bool BlockReader::read_more() {
  make_room();
  const size_t before = end_;
  char* bytes = buffer_->bytes.get();
  try {
    const auto read = [&] {
      const size_t got = source_->read(bytes + end_, buffer_->capacity - end_);
      end_ += got;
      return got > 0;
    };
    if (source_) return read();
    source_ = std::make_unique<ByteSource>(paths_[current_]);
    while (read() && end_ - before < kByteOrderMark.size()) {
    }
  } catch (const Error& error) {
    if (lines_ == 0 && end_ == begin_) fail(summary().file, ": ", error.what());
    fail(summary().file, ":", lines_ + (inside_long_line_ ? 0 : 1), ": ", error.what());
  }
  const bool any = end_ > before;
  if (std::string_view(bytes + before, end_ - before).starts_with(kByteOrderMark)) begin_ += kByteOrderMark.size();
  return any;
}

void BlockReader::end_input() {
  summary().lines = lines_;
  summary().bytes = source_->stored_bytes();
  summary().hash = source_->hash();
  finished_ += summary().bytes;
  source_.reset();
  ++current_;
  lines_ = 0;
}

void BlockReader::place(Block& block, size_t length) {
  const char* first = buffer_->bytes.get() + begin_;
  block.bytes = std::shared_ptr<const char[]>(buffer_, first);
  block.text = {first, length};
  block.file = &summary().file;
  block.number = lines_ + 1;
  block.index = all_lines_;
  block.lines.clear();
}

// The lines of [begin_, end), as many as a block holds.
bool BlockReader::hand_out_lines(Block& block, size_t end) {
  place(block, end - begin_);
  block.part = LineReader::Part::line;
  const char* at = block.text.data();
  const char* const last = at + block.text.size();
  while (at != last && block.lines.size() < kBlockLines) {
    const void* found = std::memchr(at, '\n', static_cast<size_t>(last - at));
    const char* newline = found ? static_cast<const char*>(found) : last;
    block.lines.emplace_back(at, static_cast<size_t>(newline - at));
    at = found ? newline + 1 : last;
  }
  block.text = {block.text.data(), static_cast<size_t>(at - block.text.data())};
  begin_ += block.text.size();
  lines_ += block.lines.size();
  all_lines_ += block.lines.size();
  return true;
}

bool BlockReader::hand_out_part(Block& block, size_t length, size_t newline, bool more) {
  place(block, length);
  block.part = more ? LineReader::Part::more : LineReader::Part::last;
  block.lines.push_back(block.text);
  if (inside_long_line_)
    --block.number, --block.index;
  else
    ++lines_, ++all_lines_;
  begin_ += length + newline;
  inside_long_line_ = more;
  return true;
}

// Whole lines among the bytes from `from` on.
void BlockReader::find_lines(size_t from) {
  const char* bytes = buffer_->bytes.get();
  if (const void* last = memrchr(bytes + from, '\n', end_ - from))
    lines_end_ = static_cast<size_t>(static_cast<const char*>(last) - bytes) + 1;
}

bool BlockReader::next(Block& block) {
  block.bytes.reset();
  while (current_ < inputs_.size()) {
    if (begin_ < lines_end_) return hand_out_lines(block, lines_end_);
    const size_t waiting = end_ - begin_;
    if (inside_long_line_ && waiting > 0) {
      const char* first = buffer_->bytes.get() + begin_;
      const void* newline = std::memchr(first, '\n', waiting);
      if (!newline) return hand_out_part(block, waiting, 0, true);
      hand_out_part(block, static_cast<size_t>(static_cast<const char*>(newline) - first), 1, false);
      find_lines(begin_);
      return true;
    }
    if (waiting > max_line_) return hand_out_part(block, waiting, 0, true);
    if (read_more()) {
      if (!inside_long_line_) find_lines(begin_ + waiting);
      continue;
    }
    if (inside_long_line_) return hand_out_part(block, 0, 0, false);
    if (waiting > 0) return hand_out_lines(block, end_);
    end_input();
  }
  return false;
}

std::vector<LineReader::InputSummary> BlockReader::inputs() const {
  std::vector<LineReader::InputSummary> inputs = inputs_;
  if (source_) {
    LineReader::InputSummary& now = inputs[current_];
    now = {now.file, source_->stored_bytes(), lines_, source_->hash()};
  }
  return inputs;
}

}  // namespace ds
