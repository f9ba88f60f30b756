#include "run/chat.h"

#include "base/error.h"
#include "io/input.h"

namespace ds {

Chat::Chat(std::string model, const std::string& file) : model_(std::move(model)) {
  if (!file.empty()) template_ = std::make_unique<ChatTemplate>(ChatTemplate::parse(read_file(file), file));
}

std::string Chat::render(const Record& record, const Tokenizer& tokenizer, bool add_generation_prompt) const {
  Json tools;
  if (record.has("tools")) tools = parse_json(record.raw_value("tools"), record.where() + ": tools");
  const Json messages = parse_json(record.raw_value("messages"), record.where() + ": messages");
  require(messages.type == Json::Type::array, record.where(), ": \"messages\" is not an array");
  return render(messages, &tools, tokenizer, add_generation_prompt);
}

std::string Chat::render(const Json& messages, const Json* tools, const Tokenizer& tokenizer, bool add_generation_prompt) const {
  std::call_once(read_, [&] {
    if (!template_) template_ = ChatTemplate::load(model_);
    require(template_ != nullptr, model_, ": the model has no chat template, and records have \"messages\": give one with --chat-template");
  });
  const auto token = [&](std::optional<int32_t> id) { return id ? tokenizer.token_bytes(*id) : std::string(); };
  ChatContext context{.bos_token = token(tokenizer.bos_id()), .eos_token = token(tokenizer.eos_id()),
                      .pad_token = token(tokenizer.pad_id()), .add_generation_prompt = add_generation_prompt};
  if (tools && tools->type != Json::Type::null) context.tools = tools;
  return template_->render(messages, context);
}

}  // namespace ds
