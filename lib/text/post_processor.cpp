#include "text/post_processor.h"

#include <limits>

#include "base/error.h"
#include "io/json.h"

namespace ds {
namespace {

const Json* present(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  return value && value->type != Json::Type::null ? value : nullptr;
}

int32_t token_id(const Json& json, const std::string& where) {
  const int64_t id = json.as_int(where);
  require(id >= 0 && id < std::numeric_limits<int32_t>::max(), where, ": the id ", id, " is out of range");
  return static_cast<int32_t>(id);
}

constexpr int32_t text_mark = -1;

// What stands around the text so far: parts, of which one holds the mark. Bert's and Roberta's processors work on each
// part that a template made.
using Parts = std::vector<std::vector<int32_t>>;

Parts read_template(const Json& json, const Parts& text, const std::string& where) {
  require(text.size() == 1, where, ": TemplateProcessing after TemplateProcessing is not supported");
  const Json *single = present(json, "single"), *tokens = present(json, "special_tokens");
  require(single && single->type == Json::Type::array, where, ": TemplateProcessing without single");
  Parts out;
  bool seen = false;
  for (const Json& piece : single->items) {
    if (present(piece, "Sequence")) {
      require(!seen, where, ": a template that repeats the text is not supported");
      seen = true;
      out.push_back(text[0]);
      continue;
    }
    const Json* special = present(piece, "SpecialToken");
    const Json* id = special ? present(*special, "id") : nullptr;
    require(id, where, ": a template is made of Sequence and SpecialToken");
    const Json* entry = tokens ? present(*tokens, id->as_string(where)) : nullptr;
    const Json* ids = entry ? present(*entry, "ids") : nullptr;
    require(ids && ids->type == Json::Type::array, where, ": no ids of the special token ", id->text);
    out.emplace_back();
    for (const Json& value : ids->items) out.back().push_back(token_id(value, where));
  }
  require(seen, where, ": a template without the text is not supported");
  return out;
}

void read(const Json& json, const std::string& where, Parts& parts, int depth) {
  require(depth < 16, where, ": post-processors nest too deeply");
  const Json* type = present(json, "type");
  require(type, where, ": a post-processor without type");
  const std::string& name = type->as_string(where + ": type");
  if (name == "Sequence") {
    const Json* list = present(json, "processors");
    require(list && list->type == Json::Type::array, where, ": a Sequence without processors");
    for (const Json& item : list->items) read(item, where, parts, depth + 1);
  } else if (name == "TemplateProcessing") {
    parts = read_template(json, parts, where);
  } else if (name == "BertProcessing" || name == "RobertaProcessing") {
    const auto id = [&](const char* key) {
      const Json* pair = present(json, key);
      require(pair && pair->type == Json::Type::array && pair->items.size() == 2, where, ": ", name, ": ", key,
              " is no pair of token and id");
      return token_id(pair->items[1], cat(where, ": ", name, ": ", key));
    };
    const int32_t first = id("cls"), last = id("sep");
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i == 0 || name == "RobertaProcessing") parts[i].insert(parts[i].begin(), i == 0 ? first : last);
      parts[i].push_back(last);
    }
  } else {
    // ByteLevel only trims offsets, which are not asked for here.
    require(name == "ByteLevel", where, ": the post-processor ", name, " is not supported");
  }
}

}  // namespace

PostProcessor read_post_processor(const Json* json, const std::string& where) {
  Parts parts = {{text_mark}};
  if (json && json->type != Json::Type::null) read(*json, where, parts, 0);
  PostProcessor out;
  bool behind = false;
  for (const auto& part : parts)
    for (const int32_t id : part) {
      if (id == text_mark)
        behind = true;
      else
        (behind ? out.after : out.before).push_back(id);
    }
  return out;
}

}  // namespace ds
