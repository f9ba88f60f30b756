// Requests and answers as OpenAI's API spells them, for batch lines and for the server: completions, chat completions,
// embeddings. https://platform.openai.com/docs/api-reference
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/json.h"
#include "run/chat.h"
#include "run/params.h"
#include "run/scheduler.h"

namespace ds::openai {

enum class Endpoint : uint8_t { completions, chat_completions, embeddings };
// "/v1/completions", "/v1/chat/completions", "/v1/embeddings"; nothing for others.
std::optional<Endpoint> endpoint_of(std::string_view url);

// What requests are read against. parse() may run on all threads at once.
struct Context {
  const Engine& engine;
  const Chat& chat;
  ConstraintCache& constraints;
  Parameters defaults;             // what a body leaves out
  std::string model_name;          // what a body's "model" is, if it is no adapter's name
  int64_t max_prompts = 2048;      // of one body
  int64_t embedding_length = 0;    // tokens of an input at most; 0: the model's positions
};

// One body. Completions may have several prompts (strings or arrays of ids); each is a request.
struct Body {
  Endpoint endpoint = Endpoint::completions;
  std::string model;
  std::vector<GenerateRequest> requests;            // completions, chat
  std::vector<std::string> prompts;                 // of each request, where `echo` asks for them
  std::vector<std::vector<int32_t>> inputs;         // embeddings
  int32_t adapter = -1;                             // that of all requests and inputs
  bool stream = false, include_usage = false, echo = false, base64 = false;
};
// What the API calls an invalid request: `param` is the field, "" where it is none; `status` is that of HTTP.
struct BadRequest : Error {
  BadRequest(const std::string& message, std::string param = {}, std::string code = {}, int status = 400)
      : Error(message), param(std::move(param)), code(std::move(code)), status(status) {}
  std::string param, code;
  int status;
};
// BadRequest for all that is wrong, and for a field that would change the answer and is not supported ("tools", "logit_bias") or
// is not known (a parameter that is nearly its name is named);
// fields that change nothing ("user", "metadata", "store") are passed over. A request's stream of random numbers is XXH3 of
// its prompt as text (of ids as JSON), its seed the body's "seed", else that of the defaults. response_format (json_object,
// json_schema) and the extensions that vLLM has (guided_json, guided_regex, guided_choice, guided_grammar, or
// structured_outputs with these; top_k, min_p, repetition_penalty, min_tokens, ignore_eos, length_penalty) become constraints
// and sampling, as does our own `constraint`.
Body parse(Endpoint endpoint, const Json& body, const Context& context);

// The answer as one JSON object on a line ("object": "text_completion", "chat.completion", "list"); a choice's index is
// (number of its prompt) * n + (number of its answer). Where `created` (seconds since 1970) is negative it is left out, and
// so is the number of cached tokens: batch lines are the same bytes every time. None of the results has an error.
std::string completion(const Body& body, std::string_view id, int64_t created, std::span<const GenerateResult> results, const Context& context);
std::string embedding_list(const Body& body, std::span<const std::vector<float>> vectors);

// A streamed answer: pieces, each the JSON of one "data:" line. What was told of a choice so far:
struct Choice {
  int64_t index = 0;
  bool begun = false;              // the first piece says whose words they are
  int64_t characters = 0;          // for text_offset
};
std::string chunk(const Body& body, std::string_view id, int64_t created, Choice& choice, const Delta& delta, const Context& context);
std::string last_chunk(const Body& body, std::string_view id, int64_t created, Choice& choice, std::string_view finish_reason);
// After the last of all, where body.include_usage.
std::string usage_chunk(const Body& body, std::string_view id, int64_t created, std::span<const GenerateResult> results);

// {"error": {"message", "type", "param", "code"}}; "" is null for the last two. A BadRequest's type is
// "invalid_request_error".
std::string error(std::string_view message, std::string_view type, std::string_view param = {}, std::string_view code = {});
std::string error(const BadRequest& bad);

}  // namespace ds::openai
