// What the fuzz targets of constraints do with their bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "run/constraint/constraint.h"

// Bytes as the source of a constraint are an Error, or make masks that are never empty and whose tokens are accepted.
inline int fuzz_constraint(ds::ConstraintSpec::Kind kind, const uint8_t* data, size_t size) {
  static const auto trie = [] {
    std::vector<std::string> bytes;
    for (int b = 0; b < 256; ++b) bytes.emplace_back(1, static_cast<char>(b));
    for (const char* piece : {"", "\"a\":", "\",\"", "}]", "12", "\xc3\xa9", "ab", "\\u00"}) bytes.emplace_back(piece);
    const int32_t end[] = {256};
    return std::make_shared<const ds::TokenTrie>(bytes, end);
  }();
  try {
    const auto constraint = ds::compile_constraint({kind, std::string(reinterpret_cast<const char*>(data), size)});
    ds::ConstraintState state(constraint, trie);
    std::vector<uint64_t> bits(trie->words());
    for (uint32_t step = 0, random = static_cast<uint32_t>(size); step < 12; ++step) {
      state.mask(bits);
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < static_cast<int32_t>(trie->vocab_size()); ++id)
        if (bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1) allowed.push_back(id);
      if (allowed.empty()) std::abort();  // a dead end
      random = random * 1664525 + 1013904223;
      const int32_t token = allowed[(random >> 8) % allowed.size()];
      if (!state.accept(token)) std::abort();
      if (token == 256) break;
    }
    ds::matches(*constraint, "[1,{\"a\":null}]");
  } catch (const ds::Error&) {
  }
  return 0;
}
