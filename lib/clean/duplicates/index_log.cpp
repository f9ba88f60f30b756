#include "clean/duplicates/index_log.h"

#include <algorithm>

#include "base/error.h"

namespace ds {

IndexLog::IndexLog(const std::string& path, size_t row_bytes)
    : path_(path), row_bytes_(row_bytes), file_(Spill::open(path)) {}

void IndexLog::load(const LogMark& mark, const std::function<void(const char*)>& take) {
  require(file_.size() / row_bytes_ >= mark.rows, path_, ": the index is damaged: ", file_.size() / row_bytes_,
          " texts are there, ", mark.rows, " were written");
  std::string rows;
  while (rows_ < mark.rows) {
    const uint32_t count = std::min<uint32_t>(mark.rows - rows_, 4096);
    file_.read(uint64_t{rows_} * row_bytes_, count * row_bytes_, rows);
    hasher_.update(rows.data(), rows.size());
    for (uint32_t i = 0; i < count; ++i) take(rows.data() + i * row_bytes_);
    rows_ += count;
  }
  require(mark.rows == 0 || hex(hasher_.digest()) == mark.hash, path_,
          ": the index is damaged: this is not what was written");
  file_.truncate(uint64_t{rows_} * row_bytes_);
}

void IndexLog::append(std::string_view row) {
  file_.append(row);
  hasher_.update(row.data(), row.size());
  ++rows_;
}

}  // namespace ds
