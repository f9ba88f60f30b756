// A change to a text: the bytes [begin, end) of it become `replacement`; begin == end inserts.
#pragma once
#include <cstddef>
#include <string>

namespace ds {

struct TextEdit {
  size_t begin = 0, end = 0;
  std::string replacement;
};

}  // namespace ds
