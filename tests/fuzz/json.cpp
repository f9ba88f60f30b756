// A text that is accepted says the same after it has been written and read again, and inside another value.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "io/json.h"
#include "io/record.h"

static void write(ds::JsonWriter& w, const ds::Json& value) {
  using Type = ds::Json::Type;
  switch (value.type) {
    case Type::null: w.null(); break;
    case Type::boolean: w.value(value.boolean); break;
    case Type::number: w.raw(value.text); break;
    case Type::string: w.value(value.text); break;
    case Type::array:
      w.open('[');
      for (const ds::Json& item : value.items) write(w, item);
      w.close();
      break;
    case Type::object:
      w.open('{');
      for (const auto& [key, member] : value.members) write(w.key(key), member);
      w.close();
  }
}

static size_t depth(const ds::Json& value) {
  if (value.type != ds::Json::Type::array && value.type != ds::Json::Type::object) return 0;
  size_t deepest = 0;
  for (const ds::Json& item : value.items) deepest = std::max(deepest, depth(item));
  for (const auto& [key, member] : value.members) deepest = std::max(deepest, depth(member));
  return deepest + 1;
}

static bool accepted(const auto& call) {
  try {
    call();
    return true;
  } catch (const ds::Error&) {
    return false;
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ds::Json value;
  const bool ok = accepted([&] { value = ds::parse_json(text, "fuzz"); });
  size_t members = 0;
  const bool wrapped = accepted([&] { members = ds::Record("{\"v\":" + std::string(text) + "}", "fuzz", 1).fields().size(); });
  if (wrapped && members == 1 && !ok) std::abort();
  if (!ok) return 0;
  if (wrapped != (depth(value) < 512)) std::abort();  // the record's object is one container more
  ds::JsonWriter once, twice;
  write(once, value);
  write(twice, ds::parse_json(once.text, "again"));
  if (once.text != twice.text) std::abort();
  return 0;
}
