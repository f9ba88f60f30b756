// Chat templates: conversations to the text that a model was trained on. The subset of Jinja that the templates of model
// folders use (the environment of transformers: trim_blocks, lstrip_blocks, loop controls, raise_exception, strftime_now).
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "io/json.h"

namespace ds {

// What a template may refer to besides the messages.
struct ChatContext {
  std::string bos_token, eos_token, pad_token, unk_token;        // "" where the tokenizer has none
  bool add_generation_prompt = false;
  const Json* tools = nullptr;                                   // an array of function schemas, or null
  const Json* variables = nullptr;                               // further ones (an object), or null; they hide the tokens
};

// A context with the special tokens of a model folder (tokenizer_config.json, special_tokens_map.json) or a .gguf file.
ChatContext load_chat_context(const std::string& model);

// A compiled template. Immutable; render may run on all threads at once.
class ChatTemplate {
 public:
  // A construct that is not supported, or a syntax error, is an Error that begins with `where` and names the line.
  static ChatTemplate parse(std::string_view source, const std::string& where);
  // Of a model folder (chat_template.jinja, else chat_template of tokenizer_config.json or chat_template.json) or of a
  // .gguf file (tokenizer.chat_template). Of a list of templates the one named "default", but with tools the one named
  // "tool_use" if there is one. Null where there is none.
  static std::unique_ptr<ChatTemplate> load(const std::string& model);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  // The text of a conversation: an array of {"role", "content", ...}, members that are null left out and `thinking` also
  // under `reasoning_content` as transformers (5.24) does. What the template raises is an Error with its message, file and
  // line; a template that runs too long (10 million steps), makes more than 64 MB of text or needs more than 256 MB is one
  // too. strftime_now gives the local time, or that of the environment's SOURCE_DATE_EPOCH in UTC.
  std::string render(const Json& messages, const ChatContext& context) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
