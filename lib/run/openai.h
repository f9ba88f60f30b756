// Requests and answers as OpenAI's API spells them, for batch lines and for the server: completions, chat completions,
// embeddings.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "run/chat.h"
#include "run/scheduler.h"

namespace ds::openai {

enum class Endpoint : uint8_t { completions, chat_completions, embeddings };
// "/v1/completions", "/v1/chat/completions", "/v1/embeddings"; nothing for others.
std::optional<Endpoint> endpoint_of(std::string_view url);

// What requests are read against. `limits` that a server sets; batch lines have none but the model's.
struct Context {
  const Engine& engine;
  const Chat& chat;
  Sampling defaults;               // what a body leaves out
  uint64_t seed = 0;
  std::string model_name;          // what /v1/models says; a body's "model" is that, or an adapter's name, else an Error
  int64_t max_prompts = 2048;      // of one body
};

// One body. Completions may have several prompts (strings or arrays of ids); each is a request.
struct Body {
  Endpoint endpoint = Endpoint::completions;
  std::string model;
  std::vector<GenerateRequest> requests;            // completions, chat
  std::vector<std::vector<int32_t>> inputs;         // embeddings
  bool stream = false, include_usage = false, echo = false, base64 = false;
};
// What the API calls an invalid request: `param` is the field, "" where it is none.
struct BadRequest : Error {
  BadRequest(std::string message, std::string param = {}) : Error(message), param(std::move(param)) {}
  std::string param;
};
// BadRequest for what is wrong, and for a field that would change the answer and is not supported ("tools"); fields that
// change nothing ("user", "metadata", "store") are passed over. A request's stream of random numbers is XXH3 of its prompt
// as text, its seed the body's "seed", else the context's. response_format (json_object, json_schema) and the extensions that vLLM has
// (guided_json, guided_regex, guided_choice, guided_grammar; top_k, min_p, repetition_penalty, min_tokens, ignore_eos) become
// constraints and sampling.
Body parse(Endpoint endpoint, const Json& body, const Context& context);

// The answer as one JSON object ("object": "text_completion", "chat.completion", "list"); `created` in seconds since 1970 is
// left out where negative (batch lines: the same bytes every time).
std::string completion(const Body& body, std::string_view id, int64_t created, std::span<const GenerateResult> results, const Context& context);
std::string embedding_list(const Body& body, std::span<const std::vector<float>> vectors, const Context& context);
// Pieces of a streamed answer, each the JSON of one "data:" line: the first of a choice, text, its end, and the usage.
std::string chunk(const Body& body, std::string_view id, int64_t created, int64_t choice, const Delta& delta, bool first, const Context& context);
std::string last_chunk(const Body& body, std::string_view id, int64_t created, int64_t choice, std::string_view finish_reason, const Context& context);
std::string usage_chunk(const Body& body, std::string_view id, int64_t created, std::span<const GenerateResult> results);
// {"error": {"message", "type", "param", "code"}}.
std::string error(std::string_view message, std::string_view type, std::string_view param = {}, std::string_view code = {});

}  // namespace ds::openai
