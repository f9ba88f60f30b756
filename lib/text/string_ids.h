// The ids of strings, looked up by view.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/hash.h"

namespace ds {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return hash64(text); }
};
using StringIds = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

inline int32_t id_or_none(const StringIds& ids, std::string_view text) {
  const auto it = ids.find(text);
  return it == ids.end() ? -1 : it->second;
}

}  // namespace ds
