#include "run/openai.h"

#include <algorithm>

#include "base/hash.h"
#include "io/json_scan.h"
#include "run/groups.h"

namespace ds::openai {

std::optional<Endpoint> endpoint_of(std::string_view url) {
  if (url == "/v1/completions") return Endpoint::completions;
  if (url == "/v1/chat/completions") return Endpoint::chat_completions;
  if (url == "/v1/embeddings") return Endpoint::embeddings;
  return std::nullopt;
}

namespace {

bool is_null(const Json* value) { return value == nullptr || value->type == Json::Type::null; }

// A body on its way to requests.
class Reader {
 public:
  Reader(Endpoint endpoint, const Json& json, const Context& context) : json_(json), context_(context), parameters_(context.defaults) {
    body_.endpoint = endpoint;
  }

  Body read() {
    if (json_.type != Json::Type::object) throw BadRequest("the body is not a JSON object");
    model();
    for (const auto& [key, value] : json_.members) try {
        if (value.type != Json::Type::null) field(key, value);
      } catch (const BadRequest&) {
        throw;
      } catch (const Error& error) {
        throw BadRequest(error.what(), key);
      }
    if (body_.endpoint == Endpoint::embeddings) {
      inputs();
      return std::move(body_);
    }
    settle();
    if (body_.endpoint == Endpoint::chat_completions) messages();
    else prompts();
    return std::move(body_);
  }

 private:
  void model() {
    const Json* const name = json_.find("model");
    if (is_null(name)) throw BadRequest("you must provide a model", "model");
    body_.model = name->type == Json::Type::string ? name->text : "";
    const auto& adapters = context_.engine.adapters;
    const bool adapter = std::any_of(adapters.begin(), adapters.end(), [&](const Adapter& a) { return !a.name.empty() && a.name == body_.model; });
    if (!adapter && (name->type != Json::Type::string || body_.model != context_.model_name))
      throw BadRequest(cat("there is no model ", json_text(*name), "; this is \"", context_.model_name, "\""), "model", "model_not_found", 404);
    body_.adapter = context_.engine.adapter(adapter ? body_.model : "");
  }

  static bool passed_over(std::string_view key) {
    static constexpr std::string_view kKeys[] = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
                                                 "prompt_cache_retention", "parallel_tool_calls", "prediction", "model"};
    return std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
  }

  // A field that is not null.
  void field(const std::string& key, const Json& value) {
    const Endpoint e = body_.endpoint;
    if (passed_over(key)) return;
    if (e == Endpoint::embeddings) {
      if (key == "input") return;
      if (key != "encoding_format") throw unknown(key);
      const std::string& format = value.as_string(key);
      require(format == "float" || format == "base64", key, " is \"", format, "\": it is \"float\" or \"base64\"");
      body_.base64 = format == "base64";
      return;
    }
    if (key == "prompt" || key == "messages") {
      if ((key == "messages") != (e == Endpoint::chat_completions)) throw unknown(key);
    } else if (key == "stream") {
      body_.stream = value.as_bool(key);
    } else if (key == "stream_options") {
      const Json* const usage = value.find("include_usage");
      if (!is_null(usage)) body_.include_usage = usage->as_bool("stream_options.include_usage");
    } else if (key == "echo" && e == Endpoint::completions) {
      body_.echo = value.as_bool(key);
    } else if (!unused(key, value) && !constraint(key, value) && !(e == Endpoint::chat_completions && chat_field(key, value)) &&
               !set_parameter(parameters_, key, value, key)) {
      throw unknown(key);
    }
  }

  BadRequest unknown(const std::string& key) const {
    const std::string_view meant = body_.endpoint == Endpoint::embeddings ? "" : parameter_meant_by(key);
    return BadRequest("the field \"" + key + "\" is not supported" + (meant.empty() ? "" : cat("; did you mean \"", meant, "\"?")), key);
  }

  // Fields whose one supported value says that they are not used.
  bool unused(const std::string& key, const Json& value) const {
    if (key == "logit_bias") return value.type == Json::Type::object && value.members.empty();
    if (key == "suffix") return value.type == Json::Type::string && value.text.empty();
    if (body_.endpoint != Endpoint::chat_completions) return false;
    if (key == "tools" || key == "functions") return value.type == Json::Type::array && value.items.empty();
    if (key == "tool_choice" || key == "function_call") return value.type == Json::Type::string && value.text == "none";
    if (key == "modalities") return value.type == Json::Type::array && value.items.size() == 1 && value.items[0].text == "text";
    return false;
  }

  bool chat_field(const std::string& key, const Json& value) {
    if (key == "max_completion_tokens") max_completion_tokens_ = value.as_int(key);
    else if (key == "logprobs") chat_logprobs_ = value.as_bool(key);
    else if (key == "top_logprobs") top_logprobs_ = value.as_int(key);
    else return false;
    return true;
  }

  // response_format, vLLM's guided_* and structured_outputs, and `constraint`.
  bool constraint(const std::string& key, const Json& value) {
    if (key == "response_format") {
      response_format(value);
    } else if (key.starts_with("guided_")) {
      const std::string kind = key.substr(7);
      if (kind == "decoding_backend") return true;
      return guided(kind, value, key);
    } else if (key == "structured_outputs") {
      require(value.type == Json::Type::object && value.members.size() == 1, key, ": expected an object with one of json, regex, choice, grammar");
      const auto& [kind, source] = value.members.front();
      require(guided(kind, source, key + "." + kind), key, ": \"", kind, "\" is not supported; expected json, regex, choice or grammar");
    } else if (key == "constraint") {
      constrain(constraint_spec(value, key), key);
    } else {
      return false;
    }
    return true;
  }

  bool guided(const std::string& kind, const Json& value, const std::string& where) {
    using Kind = ConstraintSpec::Kind;
    if (kind == "json") constrain({Kind::json_schema, schema_source(value, where)}, where);
    else if (kind == "regex") constrain({Kind::regex, value.as_string(where)}, where);
    else if (kind == "grammar") constrain({Kind::grammar, value.as_string(where)}, where);
    else if (kind == "choice") {
      require(value.type == Json::Type::array && !value.items.empty(), where, ": expected an array of strings, at least one");
      for (const Json& item : value.items) item.as_string(where);
      constrain({Kind::choice, json_text(value)}, where);
    } else {
      return false;
    }
    return true;
  }

  void response_format(const Json& value) {
    const Json* const type = value.find("type");
    const std::string where = "response_format";
    require(!is_null(type), where, ": expected an object with \"type\"");
    const std::string& name = type->as_string(where + ".type");
    if (name == "text") return;
    if (name == "json_object") return constrain({ConstraintSpec::Kind::json_schema, R"({"type": "object"})"}, where);
    require(name == "json_schema", where, ".type is \"", name, "\": it is \"text\", \"json_object\" or \"json_schema\"");
    const Json* const described = value.find("json_schema");
    const Json* const schema = described ? described->find("schema") : nullptr;
    require(!is_null(schema), where, ".json_schema: expected an object with \"schema\"");
    constrain({ConstraintSpec::Kind::json_schema, schema_source(*schema, where)}, where);
  }

  void constrain(ConstraintSpec spec, const std::string& where) {
    require(constraint_field_.empty(), "there are two constraints, ", constraint_field_, " and ", where, ": one is possible");
    constraint_field_ = where;
    parameters_.constraint = std::move(spec);
  }

  void settle() {
    Sampling& s = parameters_.sampling;
    if (max_completion_tokens_) s.max_tokens = *max_completion_tokens_;
    if (body_.endpoint == Endpoint::chat_completions) {
      if (top_logprobs_ && !chat_logprobs_) throw BadRequest("top_logprobs needs \"logprobs\": true", "top_logprobs");
      if (chat_logprobs_) s.logprobs = top_logprobs_.value_or(0);
    }
    give_way(s, [&](std::string_view name) { return !is_null(json_.find(name)); });
    if (body_.echo && s.logprobs >= 0) throw BadRequest("\"echo\" with \"logprobs\" is not supported: score prompts with `ds-run score`", "echo");
    try {
      check(s);
      if (parameters_.constraint) constraint_ = context_.constraints.get(*parameters_.constraint);
    } catch (const Error& error) {
      const std::string what = error.what(), first = what.substr(0, what.find(' '));
      const auto& names = parameter_names();
      const bool named = std::find(names.begin(), names.end(), first) != names.end();
      throw BadRequest(what, named ? first : constraint_field_.substr(0, constraint_field_.find('.')));
    }
  }

  // ---- Prompts ----

  void add(std::vector<int32_t> tokens, std::string_view key, const char* field) {
    const Engine& engine = context_.engine;
    try {
      check_ids(engine.model.config, tokens);
    } catch (const Error& error) {
      throw BadRequest(error.what(), field);
    }
    const int64_t most = body_.endpoint == Endpoint::embeddings && context_.embedding_length ? std::min(context_.embedding_length, engine.max_length()) : engine.max_length();
    if (tokens.empty()) throw BadRequest(cat(field, " is empty"), field);
    if (static_cast<int64_t>(tokens.size()) > most)
      throw BadRequest(cat("this model's maximum context length is ", most, " tokens, and ", field, " has ", tokens.size()), field, "context_length_exceeded");
    if (body_.endpoint == Endpoint::embeddings) {
      body_.inputs.push_back(std::move(tokens));
      return;
    }
    GenerateRequest request;
    request.tokens = std::move(tokens);
    request.sampling = parameters_.sampling;
    request.seed = parameters_.seed;
    request.stream = hash64(key);
    request.adapter = body_.adapter;
    request.constraint = constraint_;
    body_.requests.push_back(std::move(request));
  }

  void add_text(const std::string& text, const char* field) {
    if (!valid_utf8(text)) throw BadRequest(cat(field, " is not UTF-8"), field);
    std::vector<int32_t> tokens = encode(context_.engine, text);
    if (tokens.empty() && body_.endpoint == Endpoint::completions && context_.engine.tokenizer().bos_id())
      tokens.push_back(*context_.engine.tokenizer().bos_id());
    add(std::move(tokens), text, field);
    if (body_.echo) body_.prompts.push_back(text);
  }

  void add_ids(const Json& array, const char* field) {
    std::vector<int32_t> ids;
    for (const Json& item : array.items) {
      const int64_t id = item.type == Json::Type::number ? item.as_int(field) : -1;
      if (id < 0 || id > INT32_MAX) throw BadRequest(cat(field, ": expected token ids, found ", json_text(item)), field);
      ids.push_back(static_cast<int32_t>(id));
    }
    const std::string key = ids_json(ids);
    if (body_.echo) body_.prompts.push_back(context_.engine.tokenizer().decode(ids));
    add(std::move(ids), key, field);
  }

  // A string, an array of strings, of ids, or of arrays of ids.
  void texts_or_ids(const char* field) {
    const Json* const value = json_.find(field);
    if (is_null(value)) throw BadRequest(cat("you must provide ", field), field);
    if (value->type == Json::Type::string) return add_text(value->text, field);
    if (value->type != Json::Type::array || value->items.empty())
      throw BadRequest(cat(field, ": expected a string, or an array of strings, of token ids, or of arrays of those"), field);
    if (value->items[0].type == Json::Type::number) return add_ids(*value, field);
    if (static_cast<int64_t>(value->items.size()) > context_.max_prompts)
      throw BadRequest(cat(field, " has ", value->items.size(), " items: ", context_.max_prompts, " at most"), field);
    for (const Json& item : value->items) {
      if (item.type == Json::Type::string) add_text(item.text, field);
      else if (item.type == Json::Type::array) add_ids(item, field);
      else throw BadRequest(cat(field, ": expected strings or arrays of token ids, found ", json_text(item).substr(0, 40)), field);
    }
  }

  void prompts() { at_field("prompt"); }
  void inputs() { at_field("input"); }
  void at_field(const char* field) {
    try {
      texts_or_ids(field);
    } catch (const BadRequest&) {
      throw;
    } catch (const SystemError&) {
      throw;
    } catch (const Error& error) {
      throw BadRequest(error.what(), field);
    }
  }

  // Content that comes in parts is their text, a line each.
  static void join_parts(Json& message) {
    for (auto& [key, value] : message.members) {
      if (key != "content" || value.type != Json::Type::array) continue;
      Json text;
      text.type = Json::Type::string;
      for (size_t i = 0; i < value.items.size(); ++i) {
        const Json &part = value.items[i], *const type = part.find("type"), *const piece = part.find("text");
        if (is_null(type) || type->text != "text" || is_null(piece) || piece->type != Json::Type::string)
          throw BadRequest(cat("content: only parts of type \"text\" are supported, found ", is_null(type) ? "one without a type" : json_text(*type)), "messages");
        if (i) text.text += '\n';
        text.text += piece->text;
      }
      value = std::move(text);
    }
  }

  void messages() {
    const Json* const given = json_.find("messages");
    if (is_null(given) || given->type != Json::Type::array || given->items.empty())
      throw BadRequest("messages: expected an array of messages, at least one", "messages");
    Json messages = *given;
    for (Json& message : messages.items) {
      const Json* const role = message.find("role");
      if (is_null(role) || role->type != Json::Type::string) throw BadRequest("messages: expected objects with \"role\" and \"content\"", "messages");
      join_parts(message);
    }
    try {
      const std::string text = context_.chat.render(messages, nullptr, context_.engine.tokenizer(), true);
      add(context_.engine.tokenizer().encode(text, false), text, "messages");  // the template writes the special tokens
    } catch (const BadRequest&) {
      throw;
    } catch (const SystemError&) {
      throw;
    } catch (const Error& error) {
      throw BadRequest(error.what(), "messages");
    }
  }

  const Json& json_;
  const Context& context_;
  Body body_;
  Parameters parameters_;
  std::shared_ptr<const Constraint> constraint_;
  std::string constraint_field_;
  std::optional<int64_t> max_completion_tokens_, top_logprobs_;
  bool chat_logprobs_ = false;
};

}  // namespace

Body parse(Endpoint endpoint, const Json& body, const Context& context) { return Reader(endpoint, body, context).read(); }

}  // namespace ds::openai
