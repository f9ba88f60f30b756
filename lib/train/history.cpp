#include "train/history.h"

#include <filesystem>

#include "base/error.h"
#include "io/json.h"
#include "io/safetensors.h"

namespace ds {

std::map<std::string, std::string> append_history(std::map<std::string, std::string> metadata, const std::string& entry) {
  std::string& chain = metadata["ds.history"];
  const size_t end = chain.rfind(']');
  chain = end == std::string::npos ? "[" + entry + "]" : chain.substr(0, end) + ", " + entry + "]";
  return metadata;
}

std::string stored_history(const std::string& path) {
  if (!std::filesystem::exists(path)) return "";
  const SafetensorsFile file(path);
  const auto found = file.metadata().find("ds.history");
  return found == file.metadata().end() ? "" : found->second;
}

void refuse_resume(const std::string& where, const std::string& stored, const std::string& wanted) {
  std::string what = "its provenance";
  const Json a = parse_json(stored.empty() ? "[]" : stored, where), b = parse_json(wanted, where);
  if (!a.items.empty() && !b.items.empty()) {
    const Json *old_options = a.items.back().find("options"), *new_options = b.items.back().find("options");
    const auto text = [](const Json& v) { return v.type == Json::Type::boolean ? (v.boolean ? "true" : "false") : v.text; };
    what = "the data, the model or the tokenizer it starts from";
    for (const auto& [key, value] : new_options->members) {
      const Json* old = old_options ? old_options->find(key) : nullptr;
      if (old && text(*old) == text(value)) continue;
      what = cat("--", key, " (", old ? text(*old) : "none", " there, ", text(value), " here)");
      break;
    }
  }
  fail(where, ": cannot resume, since it was trained with a different ", what,
       "; repeat its options, name another -o, or leave --resume out to start afresh");
}

}  // namespace ds
