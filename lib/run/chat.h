// Conversations in records as the text that a model reads.
#pragma once
#include <memory>
#include <mutex>
#include <string>

#include "io/json.h"
#include "io/record.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace ds {

// The chat template of a model, or of a file where one is given; a file given is read at once, so that a wrong one ends the run;
// the model's own at the first use, from any thread.
class Chat {
 public:
  Chat(std::string model, const std::string& file);
  // The text of the record's `messages`, and its `tools` where it has them. Error where the model has no template.
  std::string render(const Record& record, const Tokenizer& tokenizer, bool add_generation_prompt) const;
  // The same of an array of messages; `tools` may be null.
  std::string render(const Json& messages, const Json* tools, const Tokenizer& tokenizer, bool add_generation_prompt) const;

 private:
  std::string model_;
  mutable std::once_flag read_;
  mutable std::unique_ptr<ChatTemplate> template_;
};

}  // namespace ds
