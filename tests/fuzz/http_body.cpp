// Fuzz target: any bytes as the body of a request to the server's endpoints become requests within its limits, or an Error.
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "run/openai.h"
#include "run/tiny_model.h"

using namespace ds;

static void check_request(const GenerateRequest& request, const Config& config) {
  if (request.tokens.empty()) std::abort();
  for (const int32_t id : request.tokens)
    if (id < 0 || id >= config.vocab_size) std::abort();
  check(request.sampling);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TinyModel folder;
  static Engine engine(folder.path());
  static const Chat chat(folder.path(), folder / "chat.jinja");
  static ConstraintCache constraints;
  static const openai::Context context{engine, chat, constraints, {}, "tiny", 8, 0};
  for (const openai::Endpoint endpoint : {openai::Endpoint::completions, openai::Endpoint::chat_completions, openai::Endpoint::embeddings}) try {
      const openai::Body body = openai::parse(endpoint, parse_json({reinterpret_cast<const char*>(data), size}, "the body"), context);
      if (body.requests.size() > 8 || body.inputs.size() > 8) std::abort();
      if (body.requests.empty() == body.inputs.empty()) std::abort();
      for (const GenerateRequest& request : body.requests) check_request(request, engine.model.config);
      // What is answered is JSON, whatever was asked.
      std::vector<GenerateResult> results(body.requests.size());
      for (size_t i = 0; i < results.size(); ++i)
        results[i].answers.assign(static_cast<size_t>(body.requests[i].sampling.n), Answer{.tokens = {}, .text = "a", .logprobs = {}, .finish_reason = "stop"});
      if (!results.empty()) parse_json(openai::completion(body, "id", 1, results, context), "completion");
    } catch (const Error&) {
    }
  return 0;
}
