#include "run/openai.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "base/hash.h"

namespace ds::openai {
namespace {

namespace fs = std::filesystem;
constexpr float kNever = -std::numeric_limits<float>::infinity();

// A model of nothing but zeros, with a tokenizer of eight tokens: answers are made up here, and requests are only read.
class Model {
 public:
  Model() : folder_(fs::temp_directory_path() / cat("ds-openai-test-", getpid())) {
    fs::create_directories(folder_);
    write("config.json", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 8, "hidden_size": 16, "intermediate_size": 16,
      "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "hidden_act": "silu",
      "tie_word_embeddings": true, "eos_token_id": 0})");
    write("tokenizer.json", R"({"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
      "added_tokens": [{"id": 0, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
      "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
      "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
        "byte_fallback": false, "vocab": {"<end>": 0, "h": 1, "i": 2, "\u0120": 3, "\u00c3": 4, "\u00a9": 5, "hi": 6, "\u010a": 7}, "merges": ["h i"]}})");
    write("chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %} {% endif %}");
    const std::vector<std::pair<std::string, std::vector<int>>> tensors = {
        {"model.embed_tokens.weight", {8, 16}}, {"model.norm.weight", {16}}, {"model.layers.0.input_layernorm.weight", {16}},
        {"model.layers.0.post_attention_layernorm.weight", {16}}, {"model.layers.0.self_attn.q_proj.weight", {16, 16}},
        {"model.layers.0.self_attn.k_proj.weight", {16, 16}}, {"model.layers.0.self_attn.v_proj.weight", {16, 16}},
        {"model.layers.0.self_attn.o_proj.weight", {16, 16}}, {"model.layers.0.mlp.gate_proj.weight", {16, 16}},
        {"model.layers.0.mlp.up_proj.weight", {16, 16}}, {"model.layers.0.mlp.down_proj.weight", {16, 16}}};
    JsonWriter w;
    w.open('{');
    int64_t offset = 0;
    for (const auto& [name, shape] : tensors) {
      w.open('{', name).field("dtype", "F32").open('[', "shape");
      int64_t size = 4;
      for (const int n : shape) w.value(n), size *= n;
      w.close().open('[', "data_offsets").value(offset).value(offset + size).close().close();
      offset += size;
    }
    std::string header = w.close().text, bytes(8, 0);
    while (header.size() % 8) header += ' ';
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> 8 * i & 255);
    write("model.safetensors", bytes + header + std::string(static_cast<size_t>(offset), 0));
    engine.emplace(folder_.string(), EngineOptions{});
    chat.emplace(folder_.string(), "");
  }
  ~Model() { fs::remove_all(folder_); }

  std::optional<Engine> engine;
  std::optional<Chat> chat;
  ConstraintCache constraints;

 private:
  void write(const char* name, const std::string& bytes) const { std::ofstream(folder_ / name, std::ios::binary) << bytes; }
  fs::path folder_;
};

class OpenAi : public testing::Test {
 protected:
  static void SetUpTestSuite() { model_ = new Model; }
  static void TearDownTestSuite() { delete model_; }

  Context context() { return {*model_->engine, *model_->chat, model_->constraints, {.sampling = {.max_tokens = 16}, .seed = 3, .constraint = {}}, "tiny"}; }
  Body read(const std::string& body, Endpoint endpoint = Endpoint::completions) { return parse(endpoint, parse_json(body, "body"), context()); }
  // The error object of a request that is refused.
  std::string refused(const std::string& body, Endpoint endpoint = Endpoint::completions) {
    try {
      read(body, endpoint);
    } catch (const BadRequest& bad) {
      return error(bad);
    }
    return "accepted";
  }
  static std::string message(const std::string& message, const std::string& param, const std::string& code = "null") {
    return R"({"error": {"message": ")" + message + R"(", "type": "invalid_request_error", "param": )" + (param.empty() ? "null" : '"' + param + '"') + ", \"code\": " + code + "}}";
  }

  static Model* model_;
};
Model* OpenAi::model_ = nullptr;

// h, then the two bytes of an e with an acute accent.
GenerateResult made_up(bool logprobs) {
  GenerateResult result;
  result.answers.resize(1);
  result.answers[0].tokens = {1, 4, 5};
  result.answers[0].text = "h\u00e9";
  result.answers[0].finish_reason = "stop";
  if (logprobs) result.answers[0].logprobs = {{-0.5f, {{1, -0.5f}, {2, -1.5f}}}, {-0.25f, {{4, -0.25f}}}, {kNever, {{5, kNever}}}};
  result.cached_tokens = 2;
  return result;
}

TEST_F(OpenAi, Endpoints) {
  EXPECT_EQ(endpoint_of("/v1/completions"), Endpoint::completions);
  EXPECT_EQ(endpoint_of("/v1/chat/completions"), Endpoint::chat_completions);
  EXPECT_EQ(endpoint_of("/v1/embeddings"), Endpoint::embeddings);
  EXPECT_EQ(endpoint_of("/v1/completions/"), std::nullopt);
}

TEST_F(OpenAi, CompletionsOfEveryFormOfPrompt) {
  const Body text = read(R"({"model": "tiny", "prompt": "hi", "temperature": 0.5, "stop": ["a"], "seed": 9, "user": "me", "logit_bias": {}, "suffix": null})");
  ASSERT_EQ(text.requests.size(), 1u);
  EXPECT_EQ(text.requests[0].tokens, std::vector<int32_t>{6});
  EXPECT_EQ(text.requests[0].sampling.temperature, 0.5);
  EXPECT_EQ(text.requests[0].sampling.max_tokens, 16);
  EXPECT_EQ(text.requests[0].sampling.stop, std::vector<std::string>{"a"});
  EXPECT_EQ(text.requests[0].seed, 9u);
  EXPECT_EQ(text.requests[0].stream, hash64("hi"));
  EXPECT_EQ(read(R"({"model": "tiny", "prompt": ["hi", "h"]})").requests.size(), 2u);
  const Body ids = read(R"({"model": "tiny", "prompt": [1, 2]})");
  ASSERT_EQ(ids.requests.size(), 1u);
  EXPECT_EQ(ids.requests[0].tokens, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(ids.requests[0].stream, hash64("[1, 2]"));
  EXPECT_EQ(ids.requests[0].seed, 3u);
  EXPECT_EQ(read(R"({"model": "tiny", "prompt": [[1, 2], [3]]})").requests[1].tokens, std::vector<int32_t>{3});
}

TEST_F(OpenAi, ChatsAreWrittenByTheTemplate) {
  const Body body = read(R"({"model": "tiny", "messages": [{"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]},
      {"role": "assistant", "content": "hi"}], "max_completion_tokens": 5, "logprobs": true, "top_logprobs": 2, "tools": [], "tool_choice": "none",
      "response_format": {"type": "text"}, "stream": true, "stream_options": {"include_usage": true}})", Endpoint::chat_completions);
  ASSERT_EQ(body.requests.size(), 1u);
  EXPECT_EQ(body.requests[0].tokens, (std::vector<int32_t>{1, 7, 2, 6, 3}));
  EXPECT_EQ(body.requests[0].sampling.max_tokens, 5);
  EXPECT_EQ(body.requests[0].sampling.logprobs, 2);
  EXPECT_TRUE(body.stream && body.include_usage);
  EXPECT_EQ(read(R"({"model": "tiny", "messages": [{"role": "user", "content": "h"}]})", Endpoint::chat_completions).requests[0].sampling.logprobs, -1);
}

TEST_F(OpenAi, ConstraintsInAllTheirSpellings) {
  const auto of = [&](const std::string& field) { return read(R"({"model": "tiny", "prompt": "h", )" + field + "}").requests[0].constraint; };
  using Kind = ConstraintSpec::Kind;
  ConstraintCache& cache = model_->constraints;
  EXPECT_EQ(of(R"("guided_regex": "h+")"), cache.get({Kind::regex, "h+"}));
  EXPECT_EQ(of(R"("guided_choice": ["h", "i"])"), cache.get({Kind::choice, R"(["h", "i"])"}));
  EXPECT_EQ(of(R"("structured_outputs": {"regex": "h+"})"), of(R"("constraint": {"regex": "h+"})"));
  EXPECT_EQ(of(R"("response_format": {"type": "text"})"), nullptr);
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": "h", "guided_regex": "a", "guided_choice": ["a"]})"),
            message("there are two constraints, guided_regex and guided_choice: one is possible", "guided_choice"));
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": "h", "response_format": {"type": "xml"}})"),
            message(R"(response_format.type is \"xml\": it is \"text\", \"json_object\" or \"json_schema\")", "response_format"));
  EXPECT_NE(refused(R"({"model": "tiny", "prompt": "h", "guided_regex": "("})").find(R"("param": "guided_regex")"), std::string::npos);
}

TEST_F(OpenAi, WhatIsWrongIsNamed) {
  EXPECT_EQ(refused("[]"), message("the body is not a JSON object", ""));
  EXPECT_EQ(refused(R"({"prompt": "h"})"), message("you must provide a model", "model"));
  EXPECT_EQ(refused(R"({"model": "gpt", "prompt": "h"})"), message(R"(there is no model \"gpt\"; this is \"tiny\")", "model", R"("model_not_found")"));
  EXPECT_EQ(refused(R"({"model": "tiny"})"), message("you must provide prompt", "prompt"));
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": []})"), message("prompt: expected a string, or an array of strings, of token ids, or of arrays of those", "prompt"));
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": [1, "a"]})"), message(R"(prompt: expected token ids, found \"a\")", "prompt"));
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": "h", "temperature": "hot"})"), message("temperature: expected a number, found a string", "temperature"));
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": "h", "temperature": -1})"), message("temperature is -1: it is from 0 to 1e+06", "temperature"));
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": "h", "tempeature": 1})"), message(R"(the field \"tempeature\" is not supported; did you mean \"temperature\"?)", "tempeature"));
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": "h", "logit_bias": {"1": 5}})"), message(R"(the field \"logit_bias\" is not supported)", "logit_bias"));
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": "h", "messages": []})"), message(R"(the field \"messages\" is not supported)", "messages"));
  EXPECT_EQ(refused(R"({"model": "tiny", "messages": []})", Endpoint::chat_completions), message("messages: expected an array of messages, at least one", "messages"));
  EXPECT_EQ(refused(R"({"model": "tiny", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", Endpoint::chat_completions),
            message(R"(content: only parts of type \"text\" are supported, found \"image_url\")", "messages"));
  EXPECT_EQ(refused(R"({"model": "tiny", "messages": [{"role": "user", "content": "h"}], "top_logprobs": 2})", Endpoint::chat_completions),
            message(R"(top_logprobs needs \"logprobs\": true)", "top_logprobs"));
  EXPECT_EQ(refused(R"({"model": "tiny", "messages": [{"role": "user", "content": "h"}], "tools": [{}]})", Endpoint::chat_completions),
            message(R"(the field \"tools\" is not supported)", "tools"));
  std::string ids = "[1";
  for (int i = 0; i < 32; ++i) ids += ", 1";
  EXPECT_EQ(refused(R"({"model": "tiny", "prompt": )" + ids + "]}"),
            message("this model's maximum context length is 32 tokens, and prompt has 33", "prompt", R"("context_length_exceeded")"));
  EXPECT_NE(refused(R"({"model": "tiny", "prompt": [99]})"), "accepted");
}

TEST_F(OpenAi, CompletionObject) {
  const Body body = read(R"({"model": "tiny", "prompt": ["hi", [1, 2]], "logprobs": 2})");
  const GenerateResult results[] = {made_up(true), made_up(true)};
  const std::string logprobs = R"({"text_offset": [0, 1, 2], "token_logprobs": [-0.5, -0.25, -9999], "tokens": ["h", "bytes:\\xc3", "bytes:\\xa9"], )"
                               R"("top_logprobs": [{"h": -0.5, "i": -1.5}, {"bytes:\\xc3": -0.25}, {"bytes:\\xa9": -9999}]})";
  EXPECT_EQ(completion(body, "cmpl-1", 1700000000, results, context()),
            R"({"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "tiny", "choices": [)"
            R"({"index": 0, "text": "hé", "logprobs": )" + logprobs + R"(, "finish_reason": "stop"}, {"index": 1, "text": "hé", "logprobs": )" + logprobs +
            R"(, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}})");
}

TEST_F(OpenAi, ChatObject) {
  Body body = read(R"({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]})", Endpoint::chat_completions);
  const GenerateResult plain[] = {made_up(false)}, with[] = {made_up(true)};
  EXPECT_EQ(completion(body, "chatcmpl-1", -1, plain, context()),
            R"({"id": "chatcmpl-1", "object": "chat.completion", "model": "tiny", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hé", "refusal": null}, )"
            R"("logprobs": null, "finish_reason": "stop"}], "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}})");
  body.requests[0].sampling.logprobs = 2;
  EXPECT_NE(completion(body, "chatcmpl-1", -1, with, context())
                .find(R"("logprobs": {"content": [{"token": "h", "logprob": -0.5, "bytes": [104], "top_logprobs": [{"token": "h", "logprob": -0.5, "bytes": [104]}, )"
                      R"({"token": "i", "logprob": -1.5, "bytes": [105]}]}, {"token": "bytes:\\xc3", "logprob": -0.25, "bytes": [195], "top_logprobs": [)"),
            std::string::npos);
}

TEST_F(OpenAi, EchoAndEmbeddings) {
  const Body body = read(R"({"model": "tiny", "prompt": "hi", "echo": true})");
  const GenerateResult results[] = {made_up(false)};
  EXPECT_NE(completion(body, "x", -1, results, context()).find(R"("text": "hihé")"), std::string::npos);
  const Body floats = read(R"({"model": "tiny", "input": ["hi", "h"]})", Endpoint::embeddings);
  const std::vector<float> vectors[] = {{1, -0.5f}, {0, 2}};
  EXPECT_EQ(embedding_list(floats, vectors),
            R"({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1, -0.5]}, {"object": "embedding", "index": 1, "embedding": [0, 2]}], )"
            R"("model": "tiny", "usage": {"prompt_tokens": 2, "total_tokens": 2}})");
  const Body coded = read(R"({"model": "tiny", "input": [6], "encoding_format": "base64"})", Endpoint::embeddings);
  EXPECT_NE(embedding_list(coded, std::span(vectors).first(1)).find(R"("embedding": "AACAPwAAAL8=")"), std::string::npos);  // of numpy
}

TEST_F(OpenAi, ChunksOfAStream) {
  const Body chat = read(R"({"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream_options": {"include_usage": true}})", Endpoint::chat_completions);
  Choice choice;
  const std::string head = R"({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": [)";
  EXPECT_EQ(chunk(chat, "c", 1, choice, {0, "h", {1}, {}}, context()),
            head + R"({"index": 0, "delta": {"role": "assistant", "content": "h"}, "logprobs": null, "finish_reason": null}], "usage": null})");
  EXPECT_EQ(chunk(chat, "c", 1, choice, {0, "i", {2}, {}}, context()), head + R"({"index": 0, "delta": {"content": "i"}, "logprobs": null, "finish_reason": null}], "usage": null})");
  EXPECT_EQ(last_chunk(chat, "c", 1, choice, "length"), head + R"({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "length"}], "usage": null})");
  const GenerateResult results[] = {made_up(false)};
  EXPECT_EQ(usage_chunk(chat, "c", 1, results), head + R"(], "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}}})");

  const Body text = read(R"({"model": "tiny", "prompt": "hi", "logprobs": 1, "stream": true})");
  Choice second{.index = 1};
  const Delta delta{1, "h", {1}, {{-0.5f, {{1, -0.5f}}}}};
  chunk(text, "t", -1, second, delta, context());
  EXPECT_EQ(chunk(text, "t", -1, second, delta, context()),
            R"({"id": "t", "object": "text_completion", "model": "tiny", "choices": [{"index": 1, "text": "h", "logprobs": {"text_offset": [1], "token_logprobs": [-0.5], )"
            R"("tokens": ["h"], "top_logprobs": [{"h": -0.5}]}, "finish_reason": null}]})");
}

}  // namespace
}  // namespace ds::openai
