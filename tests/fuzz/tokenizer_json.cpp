// Fuzz target: any bytes as a tokenizer.json are a tokenizer or an Error; a tokenizer then encodes and decodes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto tokenizer = ds::Tokenizer::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
    for (const std::string_view text : {"", "Hello <|bos|> don't  12\n\n", "e\u0301 \u4e2d\u6587 \U0001F642 x"}) {
      const auto ids = tokenizer.encode(text);
      tokenizer.decode(ids, false);
      for (const int32_t id : ids) tokenizer.token_bytes(id);
    }
  } catch (const ds::Error&) {
  }
  return 0;
}
