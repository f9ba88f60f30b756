#include <algorithm>

#include "io/base64.h"
#include "io/json_scan.h"
#include "run/openai.h"

namespace ds::openai {

// JSON has no minus infinity; the API writes this.
static float finite(float logprob) { return std::max(logprob, -9999.0f); }

static std::string token_bytes(const Context& context, int32_t id) {
  const Engine& engine = context.engine;
  return engine.has_tokenizer() && engine.tokenizer().has(id) ? engine.tokenizer().token_bytes(id) : std::string();
}

// A token that is a part of a character, as the API writes it: "bytes:\xe2\x82".
static std::string token_text(const std::string& bytes) {
  if (valid_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

static int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

static void write_chat_logprobs(JsonWriter& w, std::span<const int32_t> tokens, std::span<const TokenLogprobs> logprobs, const Context& context) {
  const auto one = [&](int32_t id, float logprob) {
    const std::string bytes = token_bytes(context, id);
    w.field("token", token_text(bytes)).field("logprob", finite(logprob)).open('[', "bytes");
    for (const char c : bytes) w.value(static_cast<int>(static_cast<unsigned char>(c)));
    w.close();
  };
  w.open('{', "logprobs").open('[', "content");
  for (size_t i = 0; i < logprobs.size(); ++i) {
    w.open('{');
    one(tokens[i], logprobs[i].logprob);
    w.open('[', "top_logprobs");
    for (const TokenLogprob& top : logprobs[i].top) {
      w.open('{');
      one(top.id, top.logprob);
      w.close();
    }
    w.close().close();
  }
  w.close().key("refusal").null().close();
}

// `offset`: characters of the text before these tokens; moved on.
static void write_text_logprobs(JsonWriter& w, std::span<const int32_t> tokens, std::span<const TokenLogprobs> logprobs, int64_t& offset, const Context& context) {
  std::vector<std::string> texts, bytes;
  for (size_t i = 0; i < logprobs.size(); ++i) bytes.push_back(token_bytes(context, tokens[i])), texts.push_back(token_text(bytes.back()));
  w.open('{', "logprobs").open('[', "text_offset");
  for (const std::string& b : bytes) w.value(offset), offset += characters(b);
  w.close().open('[', "token_logprobs");
  for (const TokenLogprobs& l : logprobs) w.value(finite(l.logprob));
  w.close().open('[', "tokens");
  for (const std::string& t : texts) w.value(t);
  w.close().open('[', "top_logprobs");
  for (size_t i = 0; i < logprobs.size(); ++i) {
    if (logprobs[i].top.empty()) {
      w.null();
      continue;
    }
    w.open('{');
    std::vector<std::string> named;
    for (const TokenLogprob& top : logprobs[i].top) {
      std::string name = token_text(token_bytes(context, top.id));
      if (std::find(named.begin(), named.end(), name) != named.end()) continue;  // an object has a key once: the likelier token
      w.field(name, finite(top.logprob));
      named.push_back(std::move(name));
    }
    if (std::find(named.begin(), named.end(), texts[i]) == named.end()) w.field(texts[i], finite(logprobs[i].logprob));
    w.close();
  }
  w.close().close();
}

static void write_usage(JsonWriter& w, const Body& body, std::span<const GenerateResult> results, bool with_cached) {
  uint64_t prompt = 0, answered = 0, cached = 0;
  for (const GenerateRequest& request : body.requests) prompt += request.tokens.size();
  for (const GenerateResult& result : results) {
    cached += static_cast<uint64_t>(result.cached_tokens);
    for (const Answer& answer : result.answers) answered += answer.tokens.size();
  }
  w.open('{', "usage").field("prompt_tokens", prompt).field("completion_tokens", answered).field("total_tokens", prompt + answered);
  if (with_cached) w.open('{', "prompt_tokens_details").field("cached_tokens", cached).close();
  w.close();
}

static void write_head(JsonWriter& w, const Body& body, std::string_view id, std::string_view object, int64_t created) {
  w.open('{').field("id", id).field("object", object);
  if (created >= 0) w.field("created", created);
  w.field("model", body.model);
}

std::string completion(const Body& body, std::string_view id, int64_t created, std::span<const GenerateResult> results, const Context& context) {
  const bool chat = body.endpoint == Endpoint::chat_completions;
  JsonWriter w;
  write_head(w, body, id, chat ? "chat.completion" : "text_completion", created);
  w.open('[', "choices");
  for (size_t r = 0; r < results.size(); ++r)
    for (size_t a = 0; a < results[r].answers.size(); ++a) {
      const Answer& answer = results[r].answers[a];
      const Sampling& sampling = body.requests[r].sampling;
      w.open('{').field("index", static_cast<int64_t>(r) * sampling.n + static_cast<int64_t>(a));
      int64_t offset = 0;
      if (chat) w.open('{', "message").field("role", "assistant").field("content", answer.text).key("refusal").null().close();
      else if (body.echo) offset = characters(body.prompts[r]), w.field("text", body.prompts[r] + answer.text);
      else w.field("text", answer.text);
      if (sampling.logprobs < 0) w.key("logprobs").null();
      else if (chat) write_chat_logprobs(w, answer.tokens, answer.logprobs, context);
      else write_text_logprobs(w, answer.tokens, answer.logprobs, offset, context);
      w.field("finish_reason", answer.finish_reason).close();
    }
  w.close();
  write_usage(w, body, results, created >= 0);
  return w.close().text;
}

std::string embedding_list(const Body& body, std::span<const std::vector<float>> vectors) {
  JsonWriter w;
  w.open('{').field("object", "list").open('[', "data");
  uint64_t tokens = 0;
  for (size_t i = 0; i < vectors.size(); ++i) {
    tokens += body.inputs[i].size();
    w.open('{').field("object", "embedding").field("index", static_cast<int64_t>(i));
    if (body.base64) {
      std::string base64;  // of little-endian floats, as the processors have them
      append_base64(base64, {reinterpret_cast<const char*>(vectors[i].data()), vectors[i].size() * sizeof(float)});
      w.field("embedding", base64);
    } else {
      w.open('[', "embedding");
      for (const float x : vectors[i]) w.value(x);
      w.close();
    }
    w.close();
  }
  w.close().field("model", body.model).open('{', "usage").field("prompt_tokens", tokens).field("total_tokens", tokens).close();
  return w.close().text;
}

// ---- Streams ----

static JsonWriter begin_chunk(const Body& body, std::string_view id, int64_t created, const Choice& choice) {
  JsonWriter w;
  write_head(w, body, id, body.endpoint == Endpoint::chat_completions ? "chat.completion.chunk" : "text_completion", created);
  w.open('[', "choices").open('{').field("index", choice.index);
  return w;
}

static std::string end_chunk(JsonWriter& w, const Body& body) {
  w.close().close();
  if (body.include_usage) w.key("usage").null();
  return w.close().text;
}

// The delta of a chat, or the text, which begins with the prompt where it is echoed.
static void write_delta(JsonWriter& w, const Body& body, Choice& choice, const std::string& text, bool with_text) {
  if (body.endpoint == Endpoint::chat_completions) {
    w.open('{', "delta");
    if (!choice.begun) w.field("role", "assistant");
    if (with_text || !choice.begun) w.field("content", text);
    w.close();
  } else if (!choice.begun && body.echo) {
    const auto prompt = static_cast<size_t>(choice.index / body.requests[0].sampling.n);
    choice.characters = characters(body.prompts[prompt]);
    w.field("text", body.prompts[prompt] + text);
  } else {
    w.field("text", text);
  }
  choice.begun = true;
}

std::string chunk(const Body& body, std::string_view id, int64_t created, Choice& choice, const Delta& delta, const Context& context) {
  JsonWriter w = begin_chunk(body, id, created, choice);
  write_delta(w, body, choice, delta.text, true);
  if (delta.logprobs.empty()) w.key("logprobs").null();
  else if (body.endpoint == Endpoint::chat_completions) write_chat_logprobs(w, delta.tokens, delta.logprobs, context);
  else write_text_logprobs(w, delta.tokens, delta.logprobs, choice.characters, context);
  w.key("finish_reason").null();
  return end_chunk(w, body);
}

std::string last_chunk(const Body& body, std::string_view id, int64_t created, Choice& choice, std::string_view finish_reason) {
  JsonWriter w = begin_chunk(body, id, created, choice);
  write_delta(w, body, choice, "", false);
  w.key("logprobs").null().field("finish_reason", finish_reason);
  return end_chunk(w, body);
}

std::string usage_chunk(const Body& body, std::string_view id, int64_t created, std::span<const GenerateResult> results) {
  JsonWriter w;
  write_head(w, body, id, body.endpoint == Endpoint::chat_completions ? "chat.completion.chunk" : "text_completion", created);
  w.open('[', "choices").close();
  write_usage(w, body, results, created >= 0);
  return w.close().text;
}

std::string error(std::string_view message, std::string_view type, std::string_view param, std::string_view code) {
  JsonWriter w;
  const auto or_null = [&](const char* name, std::string_view value) { value.empty() ? w.key(name).null() : w.field(name, value); };
  w.open('{').open('{', "error").field("message", message).field("type", type);
  or_null("param", param);
  or_null("code", code);
  return w.close().close().text;
}

std::string error(const BadRequest& bad) { return error(bad.what(), "invalid_request_error", bad.param, bad.code); }

}  // namespace ds::openai
