#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "io/byte_source.h"
#include "io/input.h"

namespace ds {

static constexpr size_t kRead = size_t{1} << 20;
static constexpr size_t kPadding = 64;

struct LineReader::Impl {
  std::vector<InputSummary> inputs;  // names as messages call them; never resized, lines point at them
  std::vector<std::string> paths;
  size_t max_line;
  uint64_t total = 0, finished = 0;  // stored bytes: of all inputs, of those read to their end

  size_t current = 0;                // index of the input being read
  std::unique_ptr<ByteSource> source;
  std::unique_ptr<char[]> buffer;
  size_t capacity = 0;               // without the padding
  size_t begin = 0, scanned = 0, end = 0;  // bytes not handed out; up to `scanned` there is no newline among them
  uint64_t lines = 0;                // begun in the current input
  bool inside_long_line = false;

  InputSummary& summary() { return inputs[current]; }

  // Makes room and reads more of the current input. False at its end.
  bool fill() {
    if (end == begin) begin = scanned = end = 0;
    if (capacity - end < kRead / 2) {
      const size_t kept = end - begin;
      if (kept + kRead > capacity) {
        const size_t wanted = std::max(kept + kRead, std::min(capacity * 2, max_line + kRead));
        auto larger = std::make_unique_for_overwrite<char[]>(wanted + kPadding);
        if (kept) std::memcpy(larger.get(), buffer.get() + begin, kept);
        buffer = std::move(larger);
        capacity = wanted;
      } else {
        std::memmove(buffer.get(), buffer.get() + begin, kept);
      }
      scanned -= begin;
      begin = 0;
      end = kept;
    }
    try {
      if (!source) source = std::make_unique<ByteSource>(paths[current]);
      end += source->read(buffer.get() + end, capacity - end);
    } catch (const Error& error) {
      if (lines == 0 && end == begin) fail(summary().file, ": ", error.what());
      fail(summary().file, ":", lines + (inside_long_line ? 0 : 1), ": ", error.what());
    }
    return end > scanned;
  }

  void end_input() {
    summary().lines = lines;
    summary().bytes = source->stored_bytes();
    summary().hash = source->hash();
    finished += summary().bytes;
    source.reset();
    ++current;
    lines = 0;
  }

  Part hand_out(Line& line, size_t length, size_t newline, bool more) {
    line.text = {buffer.get() + begin, length};
    line.file = &summary().file;
    if (!inside_long_line) ++lines;
    line.number = lines;
    begin += length + newline;
    scanned = begin;
    const bool part = inside_long_line || more || length > max_line;
    inside_long_line = more;
    return more ? Part::more : part ? Part::last : Part::line;
  }

  Part next(Line& line) {
    while (current < inputs.size()) {
      const char* from = buffer.get() + scanned;
      if (const void* found = scanned < end ? std::memchr(from, '\n', end - scanned) : nullptr)
        return hand_out(line, static_cast<size_t>(static_cast<const char*>(found) - buffer.get()) - begin, 1, false);
      scanned = end;
      if (end - begin > max_line || (inside_long_line && end > begin)) return hand_out(line, end - begin, 0, true);
      if (fill()) continue;
      if (end > begin || inside_long_line) return hand_out(line, end - begin, 0, false);
      end_input();
    }
    return Part::end;
  }
};

LineReader::LineReader(std::vector<std::string> files, size_t max_line_bytes) : impl_(std::make_unique<Impl>()) {
  impl_->max_line = max_line_bytes;
  bool known = true;
  for (std::string& path : files) {
    struct stat found;
    if (path == "-") {
      known = known && fstat(0, &found) == 0 && S_ISREG(found.st_mode);
    } else {
      if (stat(path.c_str(), &found) != 0) fail(path, ": ", std::strerror(errno));
      known = known && S_ISREG(found.st_mode);
    }
    if (known) impl_->total += static_cast<uint64_t>(found.st_size);
    impl_->inputs.push_back({path == "-" ? "<stdin>" : path, 0, 0, {}});
    impl_->paths.push_back(std::move(path));
  }
  if (!known) impl_->total = 0;
}

LineReader::~LineReader() = default;

LineReader::Part LineReader::next_part(Line& line) { return impl_->next(line); }

bool LineReader::next(Line& line) {
  switch (impl_->next(line)) {
    case Part::end: return false;
    case Part::line: return true;
    default: fail(*line.file, ":", line.number, ": the line is longer than ", impl_->max_line, " bytes");
  }
}

std::vector<LineReader::InputSummary> LineReader::inputs() const {
  std::vector<InputSummary> inputs = impl_->inputs;
  if (impl_->source) {
    InputSummary& now = inputs[impl_->current];
    now = {now.file, impl_->source->stored_bytes(), impl_->lines, impl_->source->hash()};
  }
  return inputs;
}

uint64_t LineReader::bytes_read() const { return impl_->finished + (impl_->source ? impl_->source->stored_bytes() : 0); }
uint64_t LineReader::bytes_total() const { return impl_->total; }

}  // namespace ds
