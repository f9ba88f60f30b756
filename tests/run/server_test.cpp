// The API over HTTP: each endpoint, the same text as without a server, limits, clients that leave, and the end.
#include "run/server.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "run/embed.h"
#include "run/fixtures.h"
#include "run/http_client.h"
#include "run/tiny_model.h"

namespace ds {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }
bool wait_for(const std::function<bool()>& holds, double seconds = 10) {
  for (const auto start = Clock::now(); since(start) < seconds; std::this_thread::sleep_for(std::chrono::milliseconds(10)))
    if (holds()) return true;
  return holds();
}

struct Reply {
  int status = 0;
  std::string body;
  Json json() const { return parse_json(body, "answer"); }
};

struct Running {
  const TinyModel model;
  ServeOptions options;
  Report report;
  std::unique_ptr<Server> server;

  explicit Running(const std::function<void(ServeOptions&)>& change = [](ServeOptions&) {}, const std::string& config = tiny_llama_config())
      : model(config) {
    options.run.model = model.path();
    options.run.chat_template = model / "chat.jinja";
    options.run.engine.memory = uint64_t{64} << 20;
    options.run.model_name = "tiny";
    options.http.port = 0;
    change(options);
    server = std::make_unique<Server>(options, report);
  }
  std::unique_ptr<httplib::Client> client() const {
    auto client = std::make_unique<httplib::Client>("127.0.0.1", server->port());
    client->set_tcp_nodelay(true);
    client->set_read_timeout(60);
    return client;
  }
  Reply get(const std::string& path) const {
    const auto got = client()->Get(path.c_str());
    return got ? Reply{got->status, got->body} : Reply{};
  }
  Reply post(const std::string& path, const std::string& body) const {
    const auto got = client()->Post(path.c_str(), body, "application/json");
    return got ? Reply{got->status, got->body} : Reply{};
  }
  // A line of /metrics; -1 where it is not there.
  double metric(const std::string& name) const {
    const std::string text = "\n" + get("/metrics").body;
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }
};

// A body for completions; EOS ends nothing, so an answer has all its tokens.
std::string body(const std::string& prompt, int max_tokens, const std::string& more = {}) {
  return cat(R"({"model": "tiny", "ignore_eos": true, "prompt": )", json_string(prompt), R"(, "max_tokens": )", max_tokens, more, "}");
}
std::string text_of(const Reply& reply) {
  if (reply.status != 200) return cat("status ", reply.status, " ", reply.body);
  return reply.json().find("choices")->items.at(0).find("text")->text;
}

// The choices of a stream put together again: texts and finish reasons by index, and what else was there.
struct Streamed {
  std::vector<std::string> texts, reasons;
  bool done = false;               // [DONE] was the last
  std::string usage, error;
};
Streamed read_stream(const std::string& events) {
  Streamed s;
  for (size_t begin = 0; begin < events.size();) {
    const size_t end = std::min(events.find("\n\n", begin), events.size());
    const std::string event = events.substr(begin, end - begin);
    begin = end + 2;
    if (!event.starts_with("data: ")) continue;
    EXPECT_FALSE(s.done) << "after [DONE]: " << event;
    if (event == "data: [DONE]") {
      s.done = true;
      continue;
    }
    const Json json = parse_json(event.substr(6), "event");
    if (const Json* const error = json.find("error")) s.error = error->find("message")->text;
    if (const Json* const usage = json.find("usage"); usage && usage->type == Json::Type::object) s.usage = usage->find("completion_tokens")->text;
    if (!json.find("choices")) continue;
    for (const Json& choice : json.find("choices")->items) {
      const auto index = static_cast<size_t>(choice.find("index")->as_int("index"));
      s.texts.resize(std::max(s.texts.size(), index + 1)), s.reasons.resize(s.texts.size());
      const Json* const delta = choice.find("delta");
      const Json* const text = delta ? delta->find("content") : choice.find("text");
      if (text) s.texts[index] += text->text;
      if (const Json* const reason = choice.find("finish_reason"); reason->type == Json::Type::string) s.reasons[index] = reason->text;
    }
  }
  return s;
}

TEST(Server, HealthModelsAndWrongAddresses) {
  const Running run;
  EXPECT_EQ(run.get("/health").status, 200);
  const Json models = run.get("/v1/models").json();
  ASSERT_EQ(models.find("data")->items.size(), 1u);
  EXPECT_EQ(models.find("data")->items[0].find("id")->text, "tiny");
  EXPECT_EQ(run.get("/v1/models/tiny").json().find("id")->text, "tiny");
  EXPECT_EQ(run.get("/v1/models/other").status, 404);
  EXPECT_EQ(run.get("/v1/nothing").status, 404);
  EXPECT_EQ(run.get("/").status, 404);
  EXPECT_EQ(run.get("/v1/completions").status, 405);
  EXPECT_EQ(run.post("/health", "{}").status, 405);
  EXPECT_EQ(run.client()->Post("/v1/completions", body("a", 1), "text/plain")->status, 415);
  EXPECT_EQ(run.client()->Get("/v1/completions")->get_header_value("Allow"), "POST");
  const Json error = run.get("/v1/nothing").json();
  for (const char* field : {"message", "type", "param", "code"}) EXPECT_NE(error.find("error")->find(field), nullptr) << field;
}

TEST(Server, TextIsThatOfGenerateAloneAndAmongOthers) {
  const Running run;
  Engine engine(run.model.path());
  for (const double temperature : {0.0, 0.9}) {
    std::vector<std::string> prompts;
    std::vector<GenerateRequest> requests;
    for (int i = 0; i < 32; ++i) {
      prompts.push_back(std::string("The same beginning of some length. ").substr(0, i % 2 ? 35 : 3) + std::to_string(i * i));
      GenerateRequest request{encode(engine, prompts.back())};
      request.sampling = {.max_tokens = 24 + i % 7, .temperature = temperature, .ignore_eos = true};
      request.stream = hash64(prompts.back());
      requests.push_back(std::move(request));
    }
    const auto expected = generate(engine, requests);
    const auto ask = [&](size_t i, const std::string& more = {}) {
      return run.post("/v1/completions", body(prompts[i], static_cast<int>(24 + i % 7), cat(", \"temperature\": ", temperature, more)));
    };
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(text_of(ask(i)), expected[i].answers[0].text) << "alone: " << i;
    std::vector<std::string> found(32);
    std::vector<std::thread> clients;
    for (size_t i = 0; i < 32; ++i)
      clients.emplace_back([&, i] {
        if (i % 3) {
          found[i] = text_of(ask(i));
        } else {
          const Streamed s = read_stream(ask(i, ", \"stream\": true").body);
          found[i] = s.texts.size() == 1 ? s.texts[0] : "no choice";
        }
      });
    for (std::thread& client : clients) client.join();
    for (size_t i = 0; i < 32; ++i) EXPECT_EQ(found[i], expected[i].answers[0].text) << "among others: " << i;
  }
}

TEST(Server, AStreamIsTheWholeAnswerInPieces) {
  const Running run;
  const std::string more = R"(, "temperature": 0.8, "n": 2, "stop": ["q"])";
  const Json whole = run.post("/v1/completions", body("Once", 40, more)).json();
  const Streamed s = read_stream(run.post("/v1/completions", body("Once", 40, more + R"(, "stream": true, "stream_options": {"include_usage": true})")).body);
  EXPECT_TRUE(s.done);
  ASSERT_EQ(s.texts.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(s.texts[i], whole.find("choices")->items[i].find("text")->text);
    EXPECT_EQ(s.reasons[i], whole.find("choices")->items[i].find("finish_reason")->text);
  }
  EXPECT_EQ(s.usage, whole.find("usage")->find("completion_tokens")->text);
  // The best of several is known at the end only, and two prompts are two times n choices.
  const std::string best = R"(, "temperature": 0.8, "best_of": 3)";
  const Streamed one = read_stream(run.post("/v1/completions", body("Once", 10, best + R"(, "stream": true)")).body);
  ASSERT_EQ(one.texts.size(), 1u);
  EXPECT_EQ(one.texts[0], text_of(run.post("/v1/completions", body("Once", 10, best))));
  const std::string two = R"({"model": "tiny", "prompt": ["a", "b"], "max_tokens": 4, "ignore_eos": true, "stream": )";
  EXPECT_EQ(read_stream(run.post("/v1/completions", two + "true}").body).texts.size(), 2u);
  EXPECT_EQ(run.post("/v1/completions", two + "false}").json().find("choices")->items.size(), 2u);
}

TEST(Server, Chat) {
  const Running run;
  const std::string chat = R"({"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 12, "temperature": 0, "ignore_eos": true)";
  const Reply whole = run.post("/v1/chat/completions", chat + "}");
  ASSERT_EQ(whole.status, 200) << whole.body;
  const std::string text = whole.json().find("choices")->items[0].find("message")->find("content")->text;
  EXPECT_EQ(text, text_of(run.post("/v1/completions", body("user: hello\nassistant:", 12, ", \"temperature\": 0"))));
  const Reply events = run.post("/v1/chat/completions", chat + R"(, "stream": true})");
  const Streamed s = read_stream(events.body);
  EXPECT_TRUE(s.done);
  ASSERT_EQ(s.texts.size(), 1u);
  EXPECT_EQ(s.texts[0], text);
  EXPECT_NE(events.body.find(R"("role": "assistant")"), std::string::npos);
}

TEST(Server, EmbeddingsAreThoseOfEmbed) {
  const Running run;
  Engine engine(run.model.path());
  std::vector<std::string> texts;
  for (int i = 0; i < 40; ++i) texts.push_back(std::string(static_cast<size_t>(1 + i * 7), static_cast<char>('a' + i % 26)));
  std::vector<std::vector<int32_t>> ids;
  std::string list;
  for (const std::string& text : texts) ids.push_back(encode(engine, text)), list += (list.empty() ? "" : ", ") + json_string(text);
  const auto expected = embed(engine, ids, read_pooling(run.model.path()));
  const Reply reply = run.post("/v1/embeddings", R"({"model": "tiny", "input": [)" + list + "]}");
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json json = reply.json();
  ASSERT_EQ(json.find("data")->items.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const Json& vector = *json.find("data")->items[i].find("embedding");
    ASSERT_EQ(vector.items.size(), expected[i].size());
    for (size_t k = 0; k < expected[i].size(); ++k) EXPECT_EQ(static_cast<float>(vector.items[k].as_double("value")), expected[i][k]);
  }
  EXPECT_GT(run.metric("ds_embedded_tokens_total"), 100);
}

TEST(Server, WhatIsWrongIsSaid) {
  const Running run([](ServeOptions& o) { o.max_tokens = 50, o.http.max_body_bytes = 20'000; });
  const auto status = [&](const std::string& text) { return run.post("/v1/completions", text).status; };
  EXPECT_EQ(status("{"), 400);
  EXPECT_EQ(status("[]"), 400);
  EXPECT_EQ(status(""), 400);
  EXPECT_EQ(status(R"({"model": "tiny"})"), 400);
  EXPECT_EQ(status(R"({"model": "other", "prompt": "a"})"), 404);
  EXPECT_EQ(status(body("a", 51)), 400);
  EXPECT_EQ(status(body("a", 50)), 200);
  EXPECT_EQ(status(body("a", 5, ", \"temperature\": -1")), 400);
  EXPECT_EQ(status(R"({"model": "tiny", "prompt": [999]})"), 400);
  EXPECT_EQ(status(R"({"model": "tiny", "prompt": []})"), 400);
  EXPECT_EQ(status(body("a", 5, ", \"n\": 100000")), 400);
  EXPECT_EQ(status(body(std::string(30'000, 'a'), 5)), 413);
  EXPECT_EQ(status(std::string(10'000, '[')), 400);
  const Reply many = run.post("/v1/completions", body("a", 51));
  EXPECT_EQ(many.json().find("error")->find("param")->text, "max_tokens") << many.body;
  EXPECT_EQ(run.post("/v1/embeddings", R"({"model": "tiny", "input": ""})").status, 400);
  EXPECT_EQ(status(R"({"model": "tiny", "prompt": "a", "temperature": 0, "ignore_eos": true})"), 200);  // 50 tokens
}

TEST(Server, Keys) {
  const Running run([](ServeOptions& o) {
    std::ofstream(o.run.model + "/keys") << "first\n\nsecond\r\n";
    o.api_key_file = o.run.model + "/keys";
    o.api_keys = {"third"};
  });
  const auto status = [&](const char* path, const char* header) { return run.client()->Get(path, {{"Authorization", header}})->status; };
  for (const char* good : {"Bearer first", "Bearer second", "Bearer third"}) EXPECT_EQ(status("/v1/models", good), 200) << good;
  for (const char* bad : {"", "Bearer ", "Bearer firs", "Bearer firstt", "first", "Basic first", "Bearer fourth"}) EXPECT_EQ(status("/v1/models", bad), 401) << bad;
  EXPECT_EQ(run.get("/metrics").status, 401);
  EXPECT_EQ(run.get("/nothing").status, 401);
  EXPECT_EQ(run.get("/health").status, 200);
  EXPECT_EQ(run.post("/v1/completions", body("a", 1)).status, 401);
  EXPECT_THROW(Running([](ServeOptions& o) {
                 std::ofstream(o.run.model + "/keys") << "\n";
                 o.api_key_file = o.run.model + "/keys";
               }),
               Error);
}

TEST(Server, AFullQueueIsSaid) {
  const Running run([](ServeOptions& o) { o.run.engine.batch_sequences = 2, o.queue = 2, o.max_tokens = 30'000; });
  std::vector<std::unique_ptr<RawClient>> clients;
  const std::string text = body("a", 30'000);
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<RawClient>(run.server->port()));
    clients.back()->send(cat("POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ", text.size(), "\r\n\r\n", text));
  }
  ASSERT_TRUE(wait_for([&] { return run.metric("ds_running") + run.metric("ds_queue_length") == 4; }));
  EXPECT_EQ(run.metric("ds_running"), 2);
  const auto refused = run.client()->Post("/v1/completions", body("b", 1), "application/json");
  EXPECT_EQ(refused->status, 429) << refused->body;
  EXPECT_EQ(refused->get_header_value("Retry-After"), "1");
  clients.clear();                 // all four leave, those that wait too
  EXPECT_TRUE(wait_for([&] { return run.metric("ds_cancelled_total") == 4; }));
  EXPECT_EQ(run.metric("ds_running") + run.metric("ds_queue_length"), 0);
  EXPECT_EQ(run.metric("ds_kv_pages_used"), 0);
  EXPECT_EQ(run.post("/v1/completions", body("b", 1)).status, 200);
}

TEST(Server, WorkEndsWhenItsClientLeaves) {
  const Running run([](ServeOptions& o) { o.max_tokens = 30'000; });
  for (const std::string& more : {std::string(), std::string(R"(, "stream": true)")}) {
    const double before = run.metric("ds_cancelled_total");
    RawClient client(run.server->port());
    const std::string text = body("a", 30'000, more);
    client.send(cat("POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ", text.size(), "\r\n\r\n", text));
    ASSERT_TRUE(wait_for([&] { return run.metric("ds_running") == 1; }));
    client.close();
    EXPECT_TRUE(wait_for([&] { return run.metric("ds_cancelled_total") == before + 1; }));
    EXPECT_TRUE(wait_for([&] { return run.metric("ds_running") == 0; }));
    EXPECT_LT(run.metric("ds_generated_tokens_total"), 50'000);
  }
  EXPECT_TRUE(wait_for([&] { return run.metric("ds_requests_total{endpoint=\"/v1/completions\",status=\"499\"}") == 2; }));
}

TEST(Server, AClientThatDoesNotReadHoldsNoOther) {
  const Running run([](ServeOptions& o) { o.max_tokens = 30'000, o.http.write_seconds = 0.5; });
  RawClient stalled(run.server->port(), 4096);
  const std::string text = body("a", 30'000, R"(, "stream": true, "logprobs": 5)");
  stalled.send(cat("POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ", text.size(), "\r\n\r\n", text));
  ASSERT_TRUE(wait_for([&] { return run.metric("ds_running") == 1; }));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(run.post("/v1/completions", body("b", 20)).status, 200);
  EXPECT_TRUE(wait_for([&] { return run.metric("ds_cancelled_total") == 1; }, 30));
  EXPECT_TRUE(wait_for([&] { return run.metric("ds_running") == 0; }));
}

TEST(Server, RequestsHaveATime) {
  const Running run([](ServeOptions& o) { o.max_tokens = 30'000, o.request_seconds = 0.4; });
  EXPECT_EQ(run.post("/v1/completions", body("a", 30'000)).status, 504);
  const Streamed s = read_stream(run.post("/v1/completions", body("a", 30'000, R"(, "stream": true)")).body);
  EXPECT_TRUE(s.done);
  EXPECT_NE(s.error.find("0.4 seconds"), std::string::npos);
  EXPECT_TRUE(wait_for([&] { return run.metric("ds_running") == 0; }));
}

TEST(Server, DrainsWhatIsUnderWay) {
  Running run([](ServeOptions& o) { o.max_tokens = 30'000; });
  std::string events, whole;
  std::jthread streaming([&] { events = run.post("/v1/completions", body("a", 8000, R"(, "stream": true)")).body; });
  std::jthread waiting([&] { whole = text_of(run.post("/v1/completions", body("a", 8000))); });
  ASSERT_TRUE(wait_for([&] { return run.metric("ds_running") == 2; }));
  std::jthread draining([&] { run.server->drain(60); });
  ASSERT_TRUE(wait_for([&] { return run.get("/health").status == 503; }, 2));
  const auto refused = run.client()->Post("/v1/completions", body("b", 1), "application/json");
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 503);
  EXPECT_NE(refused->get_header_value("Retry-After"), "");
  streaming.join(), waiting.join(), draining.join();
  const Streamed s = read_stream(events);
  EXPECT_TRUE(s.done);
  ASSERT_EQ(s.texts.size(), 1u);
  EXPECT_EQ(s.reasons[0], "length");
  EXPECT_EQ(s.texts[0], whole);
  EXPECT_EQ(run.get("/health").status, 0);  // nobody listens any more
}

TEST(Server, DrainingEnds) {
  Running run([](ServeOptions& o) { o.max_tokens = 30'000; });
  std::string events;
  int status = 0;
  std::jthread streaming([&] { events = run.post("/v1/completions", body("a", 30'000, R"(, "stream": true)")).body; });
  std::jthread waiting([&] { status = run.post("/v1/completions", body("a", 30'000)).status; });
  ASSERT_TRUE(wait_for([&] { return run.metric("ds_running") == 2; }));
  const auto start = Clock::now();
  run.server->drain(0.3);
  EXPECT_LT(since(start), 3);
  streaming.join(), waiting.join();
  const Streamed s = read_stream(events);
  EXPECT_TRUE(s.done);
  ASSERT_EQ(s.reasons.size(), 1u);
  EXPECT_EQ(s.reasons[0], "cancelled");
  EXPECT_EQ(status, 503);
}

TEST(Server, Metrics) {
  const Running run;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(run.post("/v1/completions", body(std::string(70, 'a'), 5)).status, 200);
  EXPECT_EQ(run.post("/v1/completions", "{").status, 400);
  // A request is counted when its answer has been sent, which the client may see first.
  EXPECT_TRUE(wait_for([&] { return run.metric("ds_request_seconds_count{endpoint=\"/v1/completions\"}") == 4; }));
  EXPECT_EQ(run.metric("ds_requests_total{endpoint=\"/v1/completions\",status=\"200\"}"), 3);
  EXPECT_EQ(run.metric("ds_request_errors_total{endpoint=\"/v1/completions\"}"), 1);
  EXPECT_TRUE(wait_for([&] { return run.metric("ds_generated_tokens_total") == 15; }));
  EXPECT_EQ(run.metric("ds_time_to_first_token_seconds_count"), 3);
  EXPECT_EQ(run.metric("ds_time_per_output_token_seconds_count"), 3);
  EXPECT_GE(run.metric("ds_prefix_cache_hit_tokens_total"), 2 * kKeyBlock);
  EXPECT_EQ(run.metric("ds_prefix_cache_hit_tokens_total") + run.metric("ds_prompt_tokens_total"), 3 * 70);
  for (const char* name : {"ds_queue_length", "ds_running", "ds_kv_pages_used", "ds_preemptions_total", "ds_accepted_tokens_total"})
    EXPECT_EQ(run.metric(name), 0) << name;
  for (const char* name : {"ds_kv_pages", "ds_connections", "process_resident_memory_bytes", "process_cpu_seconds_total"}) EXPECT_GT(run.metric(name), 0) << name;
  EXPECT_EQ(run.get("/metrics").body.find("ds_expert"), run.get("/metrics").body.find("ds_expert_tokens_total"));
}

TEST(Server, MetricsOfExperts) {
  const Running run([](ServeOptions&) {}, R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 258, "hidden_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 512,
    "intermediate_size": 29, "num_local_experts": 4, "num_experts_per_tok": 2, "initializer_range": 0.3, "rope_theta": 100.0,
    "bos_token_id": 256, "eos_token_id": 257})");
  ASSERT_EQ(run.post("/v1/completions", body("abcdefgh", 5)).status, 200);
  ASSERT_TRUE(wait_for([&] { return run.metric("ds_generated_tokens_total") == 5; }));
  for (const int layer : {0, 1}) {
    double sum = 0;
    for (int expert = 0; expert < 4; ++expert) sum += run.metric(cat("ds_expert_tokens_total{expert=\"", expert, "\",layer=\"", layer, "\"}"));
    EXPECT_EQ(sum, 2 * (8 + 4));   // the last token that was drawn goes through no pass
  }
}

TEST(Server, WideBodiesDelaySmallOnesLittle) {
  const Running run;
  std::string wide = R"({"model": "tiny", "max_tokens": 1, "prompt": [)";
  while (wide.size() < 4'000'000) wide += "[1],[2],[3],[4],";
  wide += "[5]]}";                 // more prompts than one body may have, which is known at its end
  std::atomic<int> answered = 0;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 8; ++i)
    clients.emplace_back([&] {
      EXPECT_EQ(run.post("/v1/completions", wide).status, 400);
      ++answered;
    });
  ASSERT_TRUE(wait_for([&] { return run.metric("ds_connections") > 6; }));
  EXPECT_EQ(run.get("/health").status, 200);
  EXPECT_EQ(run.post("/v1/completions", body("b", 1)).status, 200);
  EXPECT_LT(answered, 8);
}

TEST(Server, NoAnswerNamesAPathOfTheDisk) {
  const std::string chat = R"({"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1})";
  for (const char* const text : {"", "{{ raise_exception('no') }}"}) {
    const Running run([&](ServeOptions& o) {
      std::ofstream(o.run.chat_template) << text;
      if (!*text) o.run.chat_template.clear();
    });
    const Reply reply = run.post("/v1/chat/completions", chat);
    EXPECT_EQ(reply.status, 400);
    EXPECT_NE(reply.body.find("chat"), std::string::npos) << reply.body;
    EXPECT_EQ(reply.body.find(std::filesystem::temp_directory_path().string()), std::string::npos) << reply.body;
  }
}

TEST(Server, BeamsHaveNoTemperatureUnlessTheBodySaysSo) {
  const Running run;
  EXPECT_EQ(run.post("/v1/completions", body("a", 5, R"(, "beams": 3)")).status, 200);
  EXPECT_EQ(run.post("/v1/completions", body("a", 5, R"(, "beams": 3, "temperature": 0)")).status, 200);
  EXPECT_EQ(run.post("/v1/completions", body("a", 5, R"(, "beams": 3, "temperature": 0.5)")).status, 400);
}

TEST(Server, GuessesAndLevelsChangeNoByte) {
  const std::string ask = body("abcabcabcabcabc", 40, R"(, "temperature": 0)");
  const Running plain;
  const std::string expected = text_of(plain.post("/v1/completions", ask));
  const Running lookup([](ServeOptions& o) { o.run.scheduler.guesses = 4; });
  EXPECT_EQ(text_of(lookup.post("/v1/completions", ask)), expected);
  const Running draft([](ServeOptions& o) { o.run.draft_model = o.run.model; });
  EXPECT_EQ(text_of(draft.post("/v1/completions", ask)), expected);
  EXPECT_TRUE(wait_for([&] { return draft.metric("ds_accepted_tokens_total") > 0; }));
  const Running level([](ServeOptions& o) {
    std::filesystem::create_directory(o.run.model + "/levels");
    std::filesystem::create_directory_symlink(o.run.model, o.run.model + "/levels/low");
    o.run.model += "/levels", o.run.precision = "low";
  });
  EXPECT_EQ(text_of(level.post("/v1/completions", ask)), expected);
  const Running cached([](ServeOptions& o) { o.run.scheduler.answer_cache = 1 << 20; });
  for (int i = 0; i < 2; ++i) EXPECT_EQ(text_of(cached.post("/v1/completions", ask)), expected);
  EXPECT_TRUE(wait_for([&] { return cached.metric("ds_cached_answers_total") == 1; }));
}

TEST(Server, WhatTheSchedulerCannotHaveIsSaidAtTheStart) {
  EXPECT_THROW(Running([](ServeOptions& o) { o.run.engine.memory = 1000; }), Error);
  const TinyModel other(tiny_llama_config(R"(, "vocab_size": 300)"));
  EXPECT_THROW(Running([&](ServeOptions& o) { o.run.draft_model = other.path(); }), Error);
}

TEST(Server, ServesAModelOfOthers) {
  NEEDS_SHARED("data/models/stories260K/hf");
  const Running run([](ServeOptions& o) { o.run.model = shared("data/models/stories260K/hf"); });
  const Reply reply = run.post("/v1/completions", body("Once upon a time", 16, ", \"temperature\": 0"));
  EXPECT_EQ(text_of(reply), ", there was a little girl named Lily. She loved to play");
}

}  // namespace
}  // namespace ds
