#include "io/base64.h"

#include <algorithm>
#include <cstdint>

namespace ds {

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t have = std::min<size_t>(3, bytes.size() - i);
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) three = three << 8 | (k < have ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out.push_back(k <= have ? digits[three >> (18 - 6 * k) & 63] : '=');
  }
}

void Base64Encoder::add(std::string& out, std::string_view bytes) {
  constexpr size_t kPiece = 3 << 14;
  while (!bytes.empty()) {
    waiting_ += bytes.substr(0, kPiece);
    bytes.remove_prefix(std::min(bytes.size(), kPiece));
    const size_t whole = waiting_.size() / 3 * 3;
    append_base64(out, std::string_view(waiting_).substr(0, whole));
    waiting_.erase(0, whole);
  }
}

void Base64Encoder::finish(std::string& out) {
  append_base64(out, waiting_);
  waiting_.clear();
}

}  // namespace ds
