#include "base/error.h"
#include "io/block_reader.h"
#include "io/input.h"

namespace ds {

struct LineReader::Impl {
  BlockReader reader;
  Block block;
  size_t next = 0;  // of the block's lines
};

LineReader::LineReader(std::vector<std::string> files, size_t max_line_bytes)
    : impl_(new Impl{{std::move(files), max_line_bytes}, {}}) {}

LineReader::~LineReader() = default;

LineReader::Part LineReader::next_part(Line& line) {
  Impl& impl = *impl_;
  Block& block = impl.block;
  if (impl.next == block.lines.size()) {
    impl.next = 0;
    block.lines.clear();
    if (!impl.reader.next(block)) return Part::end;
  }
  line = {block.lines[impl.next], block.file, block.number + impl.next};
  ++impl.next;
  return line.text.size() > impl.reader.max_line_bytes() && block.part == Part::line ? Part::last : block.part;
}

bool LineReader::next(Line& line) {
  switch (next_part(line)) {
    case Part::end:
      return false;
    case Part::line:
      return true;
    default:
      fail(*line.file, ":", line.number, ": the line is longer than ", impl_->reader.max_line_bytes(), " bytes");
  }
}

std::vector<LineReader::InputSummary> LineReader::inputs() const { return impl_->reader.inputs(); }
uint64_t LineReader::bytes_read() const { return impl_->reader.bytes_read(); }
uint64_t LineReader::bytes_total() const { return impl_->reader.bytes_total(); }

}  // namespace ds
