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

void read(const Json& json, const std::string& where, PostProcessor& out, int depth) {
  require(depth < 16, where, ": post-processors nest too deeply");
  const Json* type = present(json, "type");
  require(type, where, ": a post-processor without type");
  const std::string& name = type->as_string(where + ": type");
  if (name == "Sequence") {
    const Json* list = present(json, "processors");
    require(list && list->type == Json::Type::array, where, ": a Sequence without processors");
    for (const Json& item : list->items) read(item, where, out, depth + 1);
  } else if (name == "TemplateProcessing") {
    const Json *single = present(json, "single"), *tokens = present(json, "special_tokens");
    require(single && single->type == Json::Type::array, where, ": TemplateProcessing without single");
    PostProcessor now;
    bool seen = false;
    for (const Json& piece : single->items) {
      if (present(piece, "Sequence")) {
        require(!seen, where, ": a template that repeats the text is not supported");
        seen = true;
        continue;
      }
      const Json* special = present(piece, "SpecialToken");
      const Json* id = special ? present(*special, "id") : nullptr;
      require(id, where, ": a template is made of Sequence and SpecialToken");
      const Json* entry = tokens ? present(*tokens, id->as_string(where)) : nullptr;
      const Json* ids = entry ? present(*entry, "ids") : nullptr;
      require(ids && ids->type == Json::Type::array, where, ": no ids of the special token ", id->text);
      for (const Json& value : ids->items) (seen ? now.after : now.before).push_back(token_id(value, where));
    }
    require(seen, where, ": a template without the text is not supported");
    out.before.insert(out.before.begin(), now.before.begin(), now.before.end());
    out.after.insert(out.after.end(), now.after.begin(), now.after.end());
  } else if (name == "BertProcessing" || name == "RobertaProcessing") {
    const auto id = [&](const char* key) {
      const Json* pair = present(json, key);
      require(pair && pair->type == Json::Type::array && pair->items.size() == 2, where, ": ", name, ": ", key, " is no pair of token and id");
      return token_id(pair->items[1], cat(where, ": ", name, ": ", key));
    };
    out.before.insert(out.before.begin(), id("cls"));
    out.after.push_back(id("sep"));
  } else {
    // ByteLevel only trims offsets, which are not asked for here.
    require(name == "ByteLevel", where, ": the post-processor ", name, " is not supported");
  }
}

}  // namespace

PostProcessor read_post_processor(const Json* json, const std::string& where) {
  PostProcessor out;
  if (json && json->type != Json::Type::null) read(*json, where, out, 0);
  return out;
}

}  // namespace ds
