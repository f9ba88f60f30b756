// A conversation with a model: in a terminal, with line editing and interruption, or a message a line from a file or pipe.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/report.h"
#include "run/params.h"
#include "run/records.h"
#include "run/scheduler.h"
#include "text/chat_template.h"

namespace ds {

struct ChatOptions {
  RunOptions run;                  // model, precision, chat_template, seed, engine, activations, kv_cache_dtype, scheduler, draft_model,
                                   // sampling
  // Where these are not given: as the model's generation_config.json says where it samples, else 0.7, 0.95, and off.
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::string system;              // what the conversation begins with; empty: nothing
  std::string history;             // a file for what is typed in a terminal
  bool plain = false;              // "User: ...", "Assistant: ..." in place of a chat template
};

// The template that the options name, else the model's own. Error where there is none.
ChatTemplate load_chat_template(const ChatOptions& options);

// One conversation, apart from where messages come from and answers go to.
class ChatSession {
 public:
  ChatSession(Engine& engine, ChatTemplate chat_template, const ChatOptions& options);

  // Answers a message; pieces of the answer go to `show` as they come, and it ends early where `interrupted` says so. The
  // message stays in the conversation together with its answer, or where there is none neither does. Turns that no longer
  // fit into the context are dropped, the oldest first. What a person should know of that is the result, line by line.
  // Error: it cannot be answered.
  std::string answer(const std::string& message, const std::function<void(std::string_view)>& show, const std::function<bool()>& interrupted);
  // "/help" and the like, but for /retry and /quit; the result is for a person to read. Error: what is wrong.
  std::string command(const std::string& line);
  // Takes the last turn away and returns its message, to be answered anew with other random numbers; Error where there is none.
  std::string take_back();

 private:
  struct Message {
    std::string role, content;
  };
  std::vector<int32_t> prompt(std::string& text, std::string& said);
  std::string render() const;
  std::string set(const std::string& words);
  std::string stats() const;
  std::string json() const;        // {"messages": [...]}

  Engine& engine_;
  Scheduler scheduler_;
  ChatTemplate template_;
  Parameters parameters_;
  std::string system_;
  std::vector<Message> messages_;  // user and assistant in turn
  bool plain_;                     // answers begin with the space after "Assistant:", which is left out
  int64_t context_;                // tokens of prompt and answer at most
  int64_t used_ = 0;               // of it, after the last answer
  uint64_t again_ = 0;             // how often the last message was answered before
  std::string again_message_;
  std::optional<GenerateResult> last_;
  int64_t last_prompt_ = 0;
};

// `ds-run chat`: on a terminal with a prompt, else messages from standard input, one a line, and answers to standard output. The
// number of messages that could not be answered.
uint64_t run_chat(const ChatOptions& options, Report& report);

}  // namespace ds
