// Bytes as base64 (RFC 4648, padded).
#pragma once
#include <string>
#include <string_view>

namespace ds {

void append_base64(std::string& out, std::string_view bytes);

// Of bytes that come in pieces: three of them make four characters, the rest waits.
class Base64Encoder {
 public:
  void add(std::string& out, std::string_view bytes);
  void finish(std::string& out);

 private:
  std::string waiting_;
};

}  // namespace ds
