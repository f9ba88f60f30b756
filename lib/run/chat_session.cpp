#include "run/chat_session.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/hash.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"
#include "run/groups.h"

namespace ds {

// For models without a template, where it is asked for.
static constexpr char kPlain[] =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n\n"
    "{% else %}{{ 'User' if m.role == 'user' else 'Assistant' }}: {{ m.content | trim }}\n{% endif %}{% endfor %}Assistant:";

static constexpr char kHelp[] =
    "/help            this list\n"
    "/clear           forget the conversation, but not the system message\n"
    "/undo            take the last message and its answer back\n"
    "/retry           answer the last message anew\n"
    "/system TEXT     what the conversation begins with; - for nothing; without TEXT: show it\n"
    "/set NAME VALUE  a sampling parameter; without NAME: show them\n"
    "/stats           tokens, seconds, and how full the context is\n"
    "/save FILE       the conversation as a line of JSON (\"messages\")\n"
    "/quit            end (as Ctrl-D, or Ctrl-C where nothing is typed)\n"
    "A line that ends in \\ goes on in the next one; // begins a message with a slash.";

ChatTemplate load_chat_template(const ChatOptions& options) {
  if (options.plain && !options.run.chat_template.empty()) throw UsageError("of --plain and --chat-template only one is possible");
  if (options.plain) return ChatTemplate::parse(kPlain, "--plain");
  if (!options.run.chat_template.empty()) return ChatTemplate::parse(read_file(options.run.chat_template), options.run.chat_template);
  auto own = ChatTemplate::load(options.run.model);
  require(own != nullptr, options.run.model, ": the model has no chat template: give one with --chat-template, or --plain for \"User:\" and \"Assistant:\"");
  return std::move(*own);
}

// The options, else what the model's makers recommend, else values that suit most.
static Sampling chat_sampling(const ChatOptions& options) {
  Sampling s = options.run.sampling;
  s.temperature = 0.7, s.top_p = 0.95;
  const auto file = std::filesystem::path(options.run.model) / "generation_config.json";
  if (std::filesystem::exists(file)) {
    const Json json = parse_json_file(file.string());
    const Json* const samples = json.find("do_sample");
    if (samples && samples->type == Json::Type::boolean && samples->boolean) {
      s.temperature = 1, s.top_p = 1;  // what transformers takes where the file has no value
      const auto number = [&](const char* name, double& field) {
        const Json* const value = json.find(name);
        if (value && value->type != Json::Type::null) field = value->as_double(file.string() + ": " + name);
      };
      number("temperature", s.temperature), number("top_p", s.top_p), number("min_p", s.min_p), number("repetition_penalty", s.repetition_penalty);
      const Json* const top_k = json.find("top_k");
      if (top_k && top_k->type != Json::Type::null) s.top_k = top_k->as_int(file.string() + ": top_k");
    }
  }
  if (options.temperature) s.temperature = *options.temperature;
  if (options.top_p) s.top_p = *options.top_p;
  if (options.min_p) s.min_p = *options.min_p;
  if (options.repetition_penalty) s.repetition_penalty = *options.repetition_penalty;
  if (options.top_k) s.top_k = *options.top_k;
  if (options.plain) s.stop.push_back("\nUser:");
  check(s);
  return s;
}

ChatSession::ChatSession(Engine& engine, ChatTemplate chat_template, const ChatOptions& options)
    : engine_(engine), scheduler_(engine, options.run.scheduler), template_(std::move(chat_template)), parameters_{chat_sampling(options), options.run.seed, std::nullopt},
      system_(options.system), plain_(options.plain), context_(engine.max_length()) {
  require(engine.has_tokenizer(), engine.path, ": the model has no tokenizer, and a conversation needs one");
}

// ---- The prompt ----

std::string ChatSession::json() const {
  JsonWriter w;
  w.open('{').open('[', "messages");
  const auto add = [&](const std::string& role, const std::string& content) { w.open('{').field("role", role).field("content", content).close(); };
  if (!system_.empty()) add("system", system_);
  for (const Message& message : messages_) add(message.role, message.content);
  return w.close().close().text;
}

std::string ChatSession::render() const {
  const Tokenizer& tokenizer = engine_.tokenizer();
  const auto token = [&](std::optional<int32_t> id) { return id ? tokenizer.token_bytes(*id) : std::string(); };
  const ChatContext context{.bos_token = token(tokenizer.bos_id()), .eos_token = token(tokenizer.eos_id()),
                            .pad_token = token(tokenizer.pad_id()), .add_generation_prompt = true};
  const Json conversation = parse_json(json(), "the conversation");
  return template_.render(*conversation.find("messages"), context);
}

// The text of the conversation and its ids, with room for an answer of some length; the oldest turns are dropped until it fits.
std::vector<int32_t> ChatSession::prompt(std::string& text, std::string& said) {
  const int64_t wanted = std::min(parameters_.sampling.max_tokens, std::max<int64_t>(1, context_ / 4));
  std::vector<int32_t> tokens;
  size_t dropped = 0;
  for (;;) {
    text = render();
    tokens = engine_.tokenizer().encode(text, false);  // the template writes the special tokens
    const auto length = static_cast<int64_t>(tokens.size());
    if (length + wanted <= context_) break;
    if (messages_.size() == 1) {
      require(length < context_, "the message is too long: with what belongs to it, it has ", length, " tokens, and the context ", context_);
      break;
    }
    messages_.erase(messages_.begin(), messages_.begin() + 2);
    ++dropped;
  }
  if (dropped) said += cat("The context of ", context_, " tokens is full: the oldest ", dropped == 1 ? "turn was" : cat(dropped, " turns were"), " dropped.\n");
  require(!tokens.empty(), "the chat template makes an empty text of the conversation");
  return tokens;
}

// ---- Answers ----

std::string ChatSession::answer(const std::string& message, const std::function<void(std::string_view)>& show, const std::function<bool()>& interrupted) {
  again_ = message == again_message_ ? again_ : 0;
  const uint64_t again = std::exchange(again_, 0);
  again_message_.clear();
  const std::vector<Message> before = messages_;
  messages_.push_back({"user", message});
  std::string said;
  try {
    std::string text;
    GenerateRequest request;
    request.tokens = prompt(text, said);
    request.sampling = parameters_.sampling;
    request.seed = parameters_.seed;
    request.stream = hash64(text, again);  // the first time that of `ds-run generate`
    request.adapter = engine_.adapter("");
    last_prompt_ = static_cast<int64_t>(request.tokens.size());
    last_.reset();
    size_t given = 0;
    bool begun = !plain_;
    const auto give = [&](std::string_view piece) {
      given += piece.size();
      if (!begun) piece.remove_prefix(std::min(piece.size(), piece.find_first_not_of(" \n")));
      begun = begun || !piece.empty();
      if (!piece.empty()) show(piece);
    };
    const uint64_t id = scheduler_.submit(std::move(request), {[&](const Delta& delta) { give(delta.text); },
                                                               [&](GenerateResult&& result) { last_ = std::move(result); }});
    while (!last_) {
      scheduler_.step();
      if (!last_ && interrupted()) scheduler_.cancel(id);
    }
    require(last_->error.empty(), last_->error);
    give(std::string_view(last_->answers.at(0).text).substr(given));  // what was held back when it ended
  } catch (...) {
    messages_ = before;
    throw;
  }
  Answer& answer = last_->answers[0];
  if (plain_) answer.text.erase(0, std::min(answer.text.size(), answer.text.find_first_not_of(" \n")));
  used_ = last_prompt_ + static_cast<int64_t>(answer.tokens.size());
  again_ = again, again_message_ = message;
  if (answer.text.empty()) {
    messages_.pop_back();
    said += answer.finish_reason == "cancelled" ? "Stopped before the answer began; the message is not kept.\n" : "The answer is empty; the message is not kept.\n";
  } else {
    messages_.push_back({"assistant", answer.text});
    if (answer.finish_reason == "cancelled") said += "Stopped; the answer so far is kept.\n";
  }
  if (answer.finish_reason == "length")
    said += used_ >= context_ ? cat("The context of ", context_, " tokens is full; the answer ends here.\n")
                              : cat("The answer has max_tokens, ", parameters_.sampling.max_tokens, "; /set max_tokens N for longer ones.\n");
  return said;
}

std::string ChatSession::take_back() {
  require(!messages_.empty() || !again_message_.empty(), "there is no message to answer anew");
  // A message without an answer is gone already.
  const bool answered = again_message_.empty() || (!messages_.empty() && messages_[messages_.size() - 2].content == again_message_);
  if (!answered) return ++again_, again_message_;
  const std::string message = messages_[messages_.size() - 2].content;
  messages_.resize(messages_.size() - 2);
  again_ = message == again_message_ ? again_ + 1 : 1;
  return again_message_ = message;
}

// ---- Commands ----

std::string ChatSession::set(const std::string& words) {
  static constexpr std::string_view kNames[] = {"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "frequency_penalty",
                                                "presence_penalty", "max_tokens", "min_tokens", "seed"};
  const Sampling& s = parameters_.sampling;
  if (words.empty())
    return cat("temperature ", s.temperature, ", top_k ", s.top_k, ", top_p ", s.top_p, ", min_p ", s.min_p, ", repetition_penalty ", s.repetition_penalty,
               ", frequency_penalty ", s.frequency_penalty, ", presence_penalty ", s.presence_penalty, ", max_tokens ", s.max_tokens, ", min_tokens ",
               s.min_tokens, ", seed ", parameters_.seed);
  const size_t space = words.find_first_of(" =");
  std::string name = words.substr(0, space);
  std::replace(name.begin(), name.end(), '-', '_');
  const size_t begin = space == std::string::npos ? space : words.find_first_not_of(" =", space);
  if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) {
    std::string names;
    for (const std::string_view one : kNames) names += cat(names.empty() ? "" : ", ", one);
    fail("there is no parameter ", name, "; there are ", names);
  }
  require(begin != std::string::npos, "/set ", name, " needs a value");
  Parameters changed = parameters_;
  set_parameter(changed, name, parse_json(words.substr(begin), name), name);
  check(changed.sampling);
  parameters_ = changed;
  return "";
}

std::string ChatSession::stats() const {
  const auto rate = [](double tokens, double seconds) { return seconds > 0 ? static_cast<double>(static_cast<int64_t>(tokens / seconds * 10)) / 10 : 0.0; };
  const auto rounded = [](double seconds) { return static_cast<double>(static_cast<int64_t>(seconds * 100 + 0.5)) / 100; };
  std::string text;
  if (last_ && !last_->answers.empty()) {
    const auto tokens = static_cast<double>(last_->answers[0].tokens.size());
    const double seconds = last_->seconds - last_->first_token_seconds;
    text = cat("last answer: ", tokens, " tokens, ", rate(std::max(0.0, tokens - 1), seconds), " tokens/s; the first after ", rounded(last_->first_token_seconds),
               " s, of a prompt of ", last_prompt_, " tokens (", last_->cached_tokens, " of them were there)\n");
  }
  const Throughput& t = engine_.throughput;
  const SchedulerStats all = scheduler_.stats();
  text += cat("all answers: ", all.generated_tokens, " tokens, ", rate(static_cast<double>(t.decode_tokens), t.decode_seconds), " tokens/s; prompts ",
              rate(static_cast<double>(t.prefill_tokens), t.prefill_seconds), " tokens/s\n");
  text += cat("context: ", used_, " of ", context_, " tokens, ", messages_.size() / 2, messages_.size() == 2 ? " turn" : " turns");
  return text;
}

std::string ChatSession::command(const std::string& line) {
  const size_t space = line.find_first_of(" \n");
  const std::string name = line.substr(0, space);
  std::string words = space == std::string::npos ? "" : line.substr(line.find_first_not_of(" \n", space) == std::string::npos ? line.size() : line.find_first_not_of(" \n", space));
  while (!words.empty() && (words.back() == ' ' || words.back() == '\n')) words.pop_back();
  const auto no_words = [&] { require(words.empty(), name, " takes nothing after it, found: ", words); };
  if (name == "/help") return no_words(), kHelp;
  if (name == "/stats") return no_words(), stats();
  if (name == "/set") return set(words);
  if (name == "/clear") {
    no_words();
    messages_.clear(), again_message_.clear();
    used_ = 0;
    return "The conversation begins anew.";
  }
  if (name == "/undo") {
    no_words();
    require(!messages_.empty(), "there is nothing to take back");
    messages_.resize(messages_.size() - 2);
    again_message_.clear();
    return "The last message and its answer are taken back.";
  }
  if (name == "/system") {
    if (words.empty()) return system_.empty() ? "There is no system message." : system_;
    system_ = words == "-" ? "" : words;
    return system_.empty() ? "There is no system message now." : "";
  }
  if (name == "/save") {
    require(!words.empty(), "/save needs the name of a file");
    require(!messages_.empty() || !system_.empty(), "there is nothing to save");
    write_file(words, json() + "\n");
    return cat("Saved ", messages_.size() + !system_.empty(), " messages to ", words, ".");
  }
  fail("there is no command ", name, "; /help lists them, and // begins a message with a slash");
}

}  // namespace ds
