// A change to a text: the bytes [begin, end) of it become `replacement`; begin == end inserts.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace ds {

struct TextEdit {
  size_t begin = 0, end = 0;
  std::string replacement;
};

// The text with its edits made; they are disjoint and ascending.
inline std::string apply_edits(std::string_view text, std::span<const TextEdit> edits) {
  std::string edited;
  size_t at = 0;
  for (const TextEdit& edit : edits) {
    edited += text.substr(at, edit.begin - at);
    edited += edit.replacement;
    at = edit.end;
  }
  return edited += text.substr(at);
}

}  // namespace ds
