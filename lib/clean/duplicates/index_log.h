// The log of an index that lasts: a file of rows of one size, and a mark by which one that was changed is found out.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "io/spill.h"

namespace ds {

// How many rows count, and what they are.
struct LogMark {
  uint32_t rows = 0;
  std::string hash;  // XXH3-128 of them, hexadecimal; of no rows it is not looked at
};

class IndexLog {
 public:
  IndexLog(const std::string& path, size_t row_bytes);
  // Calls take(row) for each row of the mark and forgets the rows behind them. Error where these rows are not there or
  // are others. Comes first.
  void load(const LogMark& mark, const std::function<void(const char*)>& take);
  void append(std::string_view row);
  void flush() { file_.flush(); }
  LogMark mark() const { return {rows_, hex(hasher_.digest())}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  size_t row_bytes_;
  Spill file_;
  Hasher hasher_;
  uint32_t rows_ = 0;
};

}  // namespace ds
