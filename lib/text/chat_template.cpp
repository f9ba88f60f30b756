#include "text/chat_template.h"

#include <filesystem>
#include <optional>

#include "base/error.h"
#include "io/gguf.h"
#include "io/input.h"
#include "text/template/evaluate.h"

namespace ds {
namespace {

namespace fs = std::filesystem;
using jinja::Kind;
using jinja::Value;

// Messages as transformers hands them to a template: members that are null are left out, and what a model thought
// stands under `reasoning_content` and `thinking`, whichever of its three names it came by.
Value message_value(const Json& message) {
  require(message.type == Json::Type::object, "a message must be an object");
  auto out = std::make_shared<jinja::Dict>(nullptr);
  const Json* thought = nullptr;
  for (const char* const name : {"reasoning_content", "thinking", "reasoning"}) {
    const Json* const found = message.find(name);
    if (thought == nullptr && found != nullptr && found->type != Json::Type::null) thought = found;
  }
  const auto set = [&](const std::string& key, const Json& value) {
    out->set(nullptr, jinja::string(nullptr, key), jinja::from_json(value));
  };
  if (thought != nullptr) set("thinking", *thought);
  for (const auto& [key, value] : message.members)
    if (value.type != Json::Type::null) set(key, value);
  if (thought != nullptr) set("reasoning_content", *thought);
  return jinja::dict(std::move(out));
}

Value messages_value(const Json& messages) {
  require(messages.type == Json::Type::array, "messages must be an array");
  std::vector<Value> items;
  for (const Json& message : messages.items) items.push_back(message_value(message));
  return jinja::list(nullptr, std::move(items));
}

// The text of a special token in a tokenizer's files: a string, or an object that holds it as `content`.
std::string token_text(const Json* token) {
  if (token != nullptr && token->type == Json::Type::object) token = token->find("content");
  return token != nullptr && token->type == Json::Type::string ? token->text : "";
}

std::string read_text(const fs::path& path) {
  return read_regular_file(path.string(), kMaxConfigBytes);
}

// The templates of a model by name; most have one, "default".
struct Sources {
  std::optional<std::string> plain, with_tools;
  std::string where;
};

// chat_template of a JSON file: a string, or a list of {"name", "template"}.
void read_json_template(const fs::path& path, Sources& out) {
  if (out.plain || !fs::exists(path)) return;
  const Json json = parse_json_file(path.string(), kMaxConfigBytes);
  const Json* const found = json.find("chat_template");
  if (found == nullptr || found->type == Json::Type::null) return;
  out.where = path.string() + ": chat_template";
  if (found->type != Json::Type::array) {
    out.plain = found->as_string(out.where);
    return;
  }
  for (const Json& item : found->items) {
    const Json *const name = item.find("name"), *const source = item.find("template");
    require(name != nullptr && source != nullptr, out.where, ": expected a list of {\"name\", \"template\"}");
    if (name->as_string(out.where) == "default") out.plain = source->as_string(out.where);
    if (name->text == "tool_use") out.with_tools = source->as_string(out.where);
  }
  require(out.plain.has_value(), out.where, ": no template is named \"default\"");
}

Sources folder_sources(const fs::path& folder) {
  Sources out;
  if (fs::exists(folder / "chat_template.jinja")) {
    out.where = (folder / "chat_template.jinja").string();
    out.plain = read_text(folder / "chat_template.jinja");
    const fs::path tools = folder / "additional_chat_templates" / "tool_use.jinja";
    if (fs::exists(tools)) out.with_tools = read_text(tools);
  }
  read_json_template(folder / "tokenizer_config.json", out);
  read_json_template(folder / "chat_template.json", out);
  return out;
}

Sources gguf_sources(const std::string& path) {
  const GgufFile file(path);
  Sources out;
  out.where = path + ": tokenizer.chat_template";
  const auto read = [&](const char* key) {
    return file.get(key) == nullptr ? std::nullopt : std::optional(std::string(file.string_or(key, "")));
  };
  out.plain = read("tokenizer.chat_template");
  out.with_tools = read("tokenizer.chat_template.tool_use");
  return out;
}

void read_gguf_tokens(const std::string& path, ChatContext& out) {
  const GgufFile file(path);
  const GgufValue* const tokens = file.get("tokenizer.ggml.tokens");
  if (tokens == nullptr) return;
  const std::pair<const char*, std::string*> all[] = {{"bos", &out.bos_token}, {"eos", &out.eos_token},
                                                      {"padding", &out.pad_token}, {"unknown", &out.unk_token}};
  for (const auto& [name, text] : all) {
    const std::string key = cat("tokenizer.ggml.", name, "_token_id");
    const int64_t id = file.integer_or(key, -1);
    if (id < 0) continue;
    require(static_cast<uint64_t>(id) < tokens->strings.size(), path, ": ", key, ": there is no token ", id);
    *text = std::string(tokens->strings[static_cast<size_t>(id)]);
  }
}

}  // namespace

struct ChatTemplate::Impl {
  std::string where;
  jinja::Template plain;
  std::optional<jinja::Template> with_tools;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

ChatTemplate ChatTemplate::parse(std::string_view source, const std::string& where) {
  return ChatTemplate(std::make_unique<Impl>(Impl{where, jinja::parse(source, where), std::nullopt}));
}

std::unique_ptr<ChatTemplate> ChatTemplate::load(const std::string& model) {
  const Sources sources = fs::is_directory(model) ? folder_sources(model) : gguf_sources(model);
  if (!sources.plain) return nullptr;
  auto out = std::make_unique<ChatTemplate>(parse(*sources.plain, sources.where));
  if (sources.with_tools) out->impl_->with_tools = jinja::parse(*sources.with_tools, sources.where + " (tool_use)");
  return out;
}

std::string ChatTemplate::render(const Json& messages, const ChatContext& context) const {
  const bool uses_tools = context.tools != nullptr && impl_->with_tools;
  jinja::Budget budget;                                // outlives every value
  jinja::Render render(uses_tools ? *impl_->with_tools : impl_->plain, budget);
  try {
    for (const auto& [name, text] :
         {std::pair("bos_token", &context.bos_token), std::pair("eos_token", &context.eos_token),
          std::pair("pad_token", &context.pad_token), std::pair("unk_token", &context.unk_token)})
      if (!text->empty()) render.set(name, jinja::string(nullptr, *text));
    render.set("documents", jinja::none());
    if (context.variables != nullptr)
      for (const auto& [name, value] : context.variables->members) render.set(name, jinja::from_json(value));
    render.set("messages", messages_value(messages));
    render.set("tools", context.tools == nullptr ? jinja::none() : jinja::from_json(*context.tools));
    render.set("add_generation_prompt", jinja::boolean(context.add_generation_prompt));
    return render.run();
  } catch (const Error& error) {
    fail(impl_->where, uses_tools ? " (tool_use)" : "", ":", render.line(), ": ", error.what());
  }
}

ChatContext load_chat_context(const std::string& model) {
  ChatContext out;
  if (!fs::is_directory(model)) {
    read_gguf_tokens(model, out);
    return out;
  }
  // tokenizer_config.json is the newer file, and has the last word.
  for (const char* const name : {"special_tokens_map.json", "tokenizer_config.json"}) {
    const fs::path path = fs::path(model) / name;
    if (!fs::exists(path)) continue;
    const Json json = parse_json_file(path.string(), kMaxConfigBytes);
    const auto read = [&](const char* key, std::string& text) {
      if (const Json* const token = json.find(key)) text = token_text(token);
    };
    read("bos_token", out.bos_token);
    read("eos_token", out.eos_token);
    read("pad_token", out.pad_token);
    read("unk_token", out.unk_token);
  }
  return out;
}

}  // namespace ds
