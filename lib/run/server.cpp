#include "run/server.h"

#include <malloc.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/stop.h"
#include "io/input.h"
#include "run/crew.h"
#include "run/groups.h"
#include "run/http_socket.h"
#include "run/metrics.h"
#include "run/openai.h"
#include "run/precision.h"
#include "run/server_work.h"

namespace ds {
namespace {

using Clock = std::chrono::steady_clock;
using openai::Endpoint;
constexpr auto kTick = std::chrono::milliseconds(100);   // how often a waiting connection looks for its client
constexpr auto kQuiet = std::chrono::seconds(15);        // after so long a stream gets a comment, so that proxies keep it
constexpr int kClientGone = 499;                         // in the metrics, as nginx has it; nobody reads it
// Reading a body takes many times its size for a moment, and a thread that tokenizes keeps some megabytes: two threads read
// bodies, and two more those of more bytes than this, which so delay only each other.
constexpr size_t kWideBody = 64 << 10;
constexpr size_t kReaders = 2;
constexpr const char* kFailed = "the server failed: its log says why";

int64_t unix_seconds() { return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

HttpResponse refuse(int status, std::string_view message, std::string_view param = {}, std::string_view code = {}) {
  const std::string_view type = status == 401   ? "authentication_error"
                                : status == 429 ? "rate_limit_error"
                                : status == 503 ? "unavailable_error"
                                : status == 504 ? "timeout_error"
                                : status >= 500 ? "server_error"
                                                : "invalid_request_error";
  HttpResponse response{.status = status, .body = openai::error(message, type, param, code)};
  if (status == 429 || status == 503) response.headers.emplace_back("Retry-After", status == 429 ? "1" : "5");
  return response;
}

// Keys are compared in a time that does not tell where they differ.
bool same_key(std::string_view a, std::string_view b) {
  volatile unsigned different = a.size() != b.size();
  for (size_t i = 0; i < a.size(); ++i) different = different | static_cast<unsigned char>(a[i] ^ b[b.empty() ? 0 : i % b.size()]);
  return !different;
}

std::vector<std::string> read_keys(const ServeOptions& options) {
  std::vector<std::string> keys = options.api_keys;
  if (!options.api_key_file.empty()) {
    const std::string text = read_file(options.api_key_file);
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      std::string_view line(text.data() + begin, end - begin);
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
      if (!line.empty()) keys.emplace_back(line);
      begin = end + 1;
    }
    require(!keys.empty(), options.api_key_file, ": there is no key in it: write one a line");
  }
  return keys;
}

// The paths that a message might name, each with its last part; the longest first.
std::vector<std::pair<std::string, std::string>> own_paths(const RunOptions& run) {
  std::vector<std::string> paths{run.model, run.chat_template, run.draft_model, run.engine.merge_adapter};
  for (const std::string& given : run.engine.adapters) paths.push_back(adapter_path(given).folder);
  std::vector<std::pair<std::string, std::string>> named;
  for (const std::string& path : paths)
    if (path.find('/') != std::string::npos) named.emplace_back(path, base_name(path));
  std::sort(named.begin(), named.end(), [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  return named;
}

std::string_view label_of(std::string_view path) {
  for (const std::string_view name : {"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/models", "/health", "/metrics"})
    if (path == name) return name;
  return path.starts_with("/v1/models/") ? "/v1/models" : "other";  // not what clients make up
}

}  // namespace

struct Server::Impl {
  ServeOptions options;
  const std::vector<std::string> keys;
  const std::string name;
  const std::vector<std::pair<std::string, std::string>> paths;
  HttpServer http;                 // its address and certificate are looked at before the model is read; started at the end
  Engine engine;
  std::unique_ptr<Engine> draft;   // where there is one; the scheduler's
  Chat chat;
  ConstraintCache constraints;
  Metrics metrics;
  Worker worker;
  openai::Context context;
  const int64_t started = unix_seconds();
  const uint64_t id_seed = (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  std::atomic<uint64_t> next_id = 0;
  std::atomic<bool> draining = false;
  Crew readers{kReaders}, wide_readers{kReaders};

  Impl(const ServeOptions& o, Report& report)
      : options(with_folder(o)), keys(read_keys(o)), name(o.run.model_name.empty() ? base_name(o.run.model) : o.run.model_name),
        paths(own_paths(options.run)),
        http(o.http, {.before_body = [this](const HttpRequest& r) { return before_body(r); },
                      .answer = [this](const HttpRequest& r) { return answer(r); },
                      .error = [](int status, const std::string& message) { return refuse(status, message); },
                      .done = [this](const HttpRequest& r, int status, double seconds, bool complete) { done(r, status, seconds, complete); }}),
        engine(load_engine(options.run, report)), draft(load_draft(options.run)),
        chat(options.run.model, o.run.chat_template), metrics(name),
        worker(engine, options.run.scheduler, pooling_of(options.run), metrics, engine.options.batch_sequences + o.queue),
        context{engine, chat, constraints, defaults(o), name, std::min<int64_t>(2048, worker.most()), pooling_of(options.run).max_length} {
    http.start();
  }
  ~Impl() { http.stop(); }         // before what its threads use goes

  static ServeOptions with_folder(ServeOptions o) {
    o.run.model = precision_folder(o.run.model, o.run.precision);
    return o;
  }
  static Parameters defaults(const ServeOptions& o) {
    Parameters parameters{.sampling = o.run.sampling, .seed = o.run.seed, .constraint = {}};
    parameters.sampling.max_tokens = o.max_tokens;
    return parameters;
  }

  void done(const HttpRequest& request, int status, double seconds, bool complete) {
    metrics.request(label_of(request.path), complete ? status : kClientGone, seconds);
    constraints.trim();            // the answers that have just ended have taught them
    info(request.peer, " ", request.method, " ", json_string(request.path), " ", status, complete ? "" : " (the client has gone)", " ", std::llround(seconds * 1e3), " ms");
  }

  // ---- What needs no body ----

  bool allowed(const HttpRequest& request) const {
    if (keys.empty()) return true;
    constexpr std::string_view scheme = "Bearer ";
    const std::string_view given = request.authorization.starts_with(scheme) ? std::string_view(request.authorization).substr(scheme.size()) : "";
    bool found = false;
    for (const std::string& key : keys) found = same_key(given, key) || found;
    return found;
  }

  static HttpResponse other_method(const std::string& method, const char* allow) {
    HttpResponse response = refuse(405, cat("the method here is ", allow, ", not ", method));
    response.headers.emplace_back("Allow", allow);
    return response;
  }

  std::optional<HttpResponse> before_body(const HttpRequest& request) {
    const bool gets = request.method == "GET" || request.method == "HEAD";
    if (request.path == "/health") {
      if (!gets) return other_method(request.method, "GET");
      if (draining) return HttpResponse{.status = 503, .body = R"({"status": "draining"})", .headers = {{"Retry-After", "5"}}};
      return HttpResponse{.body = R"({"status": "ok"})"};
    }
    if (!allowed(request)) {
      HttpResponse response = refuse(401, "the API key is missing or wrong: send it as Authorization: Bearer KEY", "", "invalid_api_key");
      response.headers.emplace_back("WWW-Authenticate", "Bearer");
      return response;
    }
    const bool models = request.path == "/v1/models" || request.path.starts_with("/v1/models/");
    if (request.path == "/metrics" || models) {
      if (!gets) return other_method(request.method, "GET");
      if (models) return list_models(request.path);
      ServerGauges now = worker.gauges();
      now.connections = http.connections();
      return HttpResponse{.body = metrics.text(now), .content_type = "text/plain; version=0.0.4; charset=utf-8"};
    }
    if (!openai::endpoint_of(request.path))
      return refuse(404, "there is no such path: /v1/completions, /v1/chat/completions, /v1/embeddings, /v1/models, /health, /metrics", "", "not_found");
    if (request.method != "POST") return other_method(request.method, "POST");
    if (draining) return refuse(503, "the server is about to end");
    // A page in a browser can make it send text to any address, but JSON only to one that agrees.
    const std::string_view type = std::string_view(request.content_type).substr(0, request.content_type.find(';'));
    if (type != "application/json") return refuse(415, cat("the Content-Type is ", json_string(request.content_type), ": send application/json"));
    return {};
  }

  HttpResponse list_models(const std::string& path) const {
    std::vector<std::string> names{name};
    for (const Adapter& adapter : engine.adapters)
      if (!adapter.name.empty()) names.push_back(adapter.name);
    JsonWriter w;
    const auto write = [&](const std::string& one) {
      w.open('{').field("id", one).field("object", "model").field("created", started).field("owned_by", "ds").field("max_model_len", engine.max_length());
      if (one != name) w.field("parent", name);
      w.close();
    };
    if (path != "/v1/models") {
      const std::string wanted = path.substr(std::string_view("/v1/models/").size());
      if (std::find(names.begin(), names.end(), wanted) == names.end())
        return refuse(404, cat("there is no model ", json_string(wanted)), "model", "model_not_found");
      write(wanted);
      return {.body = w.text};
    }
    w.open('{').field("object", "list").open('[', "data");
    for (const std::string& one : names) write(one);
    return {.body = w.close().close().text};
  }

  // ---- What the model does ----

  HttpResponse answer(const HttpRequest& request) {
    const Deadline until = after(options.request_seconds > 0 ? options.request_seconds : 1e8);
    const Endpoint endpoint = *openai::endpoint_of(request.path);
    const auto work = std::make_shared<Work>();
    openai::Body body;
    bool late = false;
    try {
      (request.body.size() > kWideBody ? wide_readers : readers).run([&] {
        late = request.gone() || Clock::now() >= until;
        if (!late) body = parse(endpoint, request.body, *work);
      });
    } catch (const openai::BadRequest& error) {
      return {.status = error.status, .body = openai::error(openai::BadRequest(public_text(error.what()), error.param, error.code, error.status))};
    } catch (const SystemError& error) {
      return failed(error.what());
    } catch (const Error& error) {
      return refuse(400, public_text(error.what()));
    }
    if (late) return request.gone() ? refuse(kClientGone, "the client has gone") : too_late();
    if (!worker.submit(work)) {
      if (draining) return refuse(503, "the server is about to end");
      return refuse(429, cat("the queue is full (", worker.most(), " answers under way or waiting): try again later"), "", "queue_full");
    }
    const std::string id = cat(endpoint == Endpoint::chat_completions ? "chatcmpl-" : "cmpl-", hex(hash128(cat(id_seed, " ", next_id++))));
    const int status = await(request, work, until, [&] { return body.stream ? work->taken : work->done; });
    if (status == 504) return too_late();
    if (status != 200) return refuse(status, "the client has gone");
    if (!work->error.empty()) return work->invalid ? refuse(400, public_text(work->error)) : failed(work->error);
    if (body.stream) return stream(std::move(body), id, work, until);
    if (endpoint == Endpoint::embeddings) {
      if (work->cancelled) return refuse(503, "the server is about to end");
      return {.body = openai::embedding_list(body, work->vectors)};
    }
    for (const GenerateResult& result : work->results) {
      if (!result.error.empty()) return refuse(500, public_text(result.error));
      for (const Answer& one : result.answers)
        if (one.finish_reason == "cancelled") return refuse(503, "the server is about to end");
    }
    return {.body = openai::completion(body, id, unix_seconds(), work->results, context)};
  }

  HttpResponse too_late() const { return refuse(504, cat("the request was not answered within ", options.request_seconds, " seconds")); }
  // Why the machine failed is for the log.
  static HttpResponse failed(const std::string& why) {
    log(LogLevel::error, cat("a request failed: ", why));
    return refuse(500, kFailed);
  }
  // A message without the paths of this machine.
  std::string public_text(std::string text) const {
    for (const auto& [path, last] : paths)
      for (size_t at = 0; (at = text.find(path, at)) != std::string::npos; at += last.size()) text.replace(at, path.size(), last);
    return text;
  }

  // What the parsed form of a wide body took goes back to the system: the allocator would keep it for its thread.
  struct GiveBack {
    bool wide;
    ~GiveBack() {
      if (wide) malloc_trim(0);
    }
  };

  // Fills `work`; what cannot be done is a BadRequest or an Error.
  openai::Body parse(Endpoint endpoint, const std::string& text, Work& work) {
    const GiveBack after_all{text.size() > kWideBody};
    openai::Body body = openai::parse(endpoint, parse_json(text, "the body"), context);
    int64_t places = 0;
    for (const GenerateRequest& request : body.requests) {
      const Sampling& s = request.sampling;
      if (s.max_tokens > options.max_tokens)
        throw openai::BadRequest(cat("max_tokens is ", s.max_tokens, ", and this server gives at most ", options.max_tokens), "max_tokens");
      places += std::max({int64_t{1}, s.n, s.best_of, s.beams});
    }
    if (places > worker.most())
      throw openai::BadRequest(cat("the request asks for ", places, " answers, and this server works on at most ", worker.most(), " at once"), "n");
    work.requests = body.requests;
    work.inputs = body.inputs;     // the body keeps its own: its tokens are counted in the answer
    work.adapter = body.adapter;
    // The best of several, and beams, are known at their end only.
    work.stream = body.stream;
    for (const GenerateRequest& request : body.requests)
      if (request.sampling.best_of > request.sampling.n || request.sampling.beams > 1) work.stream = false;
    return body;
  }

  // Waits until ready() holds under the work's mutex: 200. 499 or 504, and the work is cancelled, where the client has gone
  // or the time is over.
  int await(const HttpRequest& request, const std::shared_ptr<Work>& work, Deadline until, const std::function<bool()>& ready) {
    for (;;) {
      {
        std::unique_lock lock(work->mutex);
        if (work->changed.wait_for(lock, kTick, ready)) return 200;
      }
      const bool late = Clock::now() >= until;
      if (!late && !request.gone()) continue;
      worker.cancel(work);
      return late ? 504 : kClientGone;
    }
  }

  // ---- Server-sent events ----

  struct Stream {
    Impl& server;
    openai::Body body;
    std::string id;
    std::shared_ptr<Work> work;
    Deadline until;
    int64_t created = unix_seconds();
    std::vector<openai::Choice> choices{};
    Clock::time_point last = Clock::now();
    bool over = false;

    ~Stream() {
      if (!over) server.worker.cancel(work);  // the client has gone
    }

    static void event(std::string& out, std::string_view json) { (((out += "data: ") += json) += "\n\n"); }
    bool end(std::string& out) {
      event(out, "[DONE]");
      over = true;
      return false;
    }
    openai::Choice& choice(size_t request, int64_t answer) {
      const auto index = request * static_cast<size_t>(body.requests[request].sampling.n) + static_cast<size_t>(answer);
      while (choices.size() <= index) choices.push_back({.index = static_cast<int64_t>(choices.size())});
      return choices[index];
    }
    void result(std::string& out, size_t request) {
      GenerateResult& r = work->results[request];
      if (!r.error.empty()) return event(out, openai::error(server.public_text(r.error), "server_error"));
      for (size_t a = 0; a < r.answers.size(); ++a) {
        const Answer& answer = r.answers[a];
        openai::Choice& told = choice(request, static_cast<int64_t>(a));
        const Delta whole = work->stream ? Delta{} : Delta{0, answer.text, answer.tokens, answer.logprobs};
        if (!told.begun) event(out, openai::chunk(body, id, created, told, whole, server.context));
        event(out, openai::last_chunk(body, id, created, told, answer.finish_reason));
      }
    }

    // HttpResponse::more.
    bool more(std::string& out) {
      std::deque<Work::Piece> pieces;
      std::vector<size_t> finished;
      bool done;
      {
        std::unique_lock lock(work->mutex);
        work->changed.wait_for(lock, kTick, [&] { return !work->pieces.empty() || !work->finished.empty() || work->done; });
        pieces.swap(work->pieces);
        finished.swap(work->finished);
        done = work->done;
      }
      for (const Work::Piece& piece : pieces)
        event(out, openai::chunk(body, id, created, choice(piece.request, piece.delta.answer), piece.delta, server.context));
      for (const size_t request : finished) result(out, request);
      if (done) {
        if (!work->error.empty()) event(out, openai::error(kFailed, "server_error"));
        else if (body.include_usage) event(out, openai::usage_chunk(body, id, created, work->results));
        return end(out);
      }
      if (Clock::now() >= until) {
        server.worker.cancel(work);
        event(out, openai::error(cat("the answer was not finished within ", server.options.request_seconds, " seconds"), "timeout_error"));
        return end(out);
      }
      if (out.empty() && Clock::now() - last >= kQuiet) out = ": still at work\n\n";
      if (!out.empty()) last = Clock::now();
      return true;
    }
  };

  HttpResponse stream(openai::Body&& body, const std::string& id, const std::shared_ptr<Work>& work, Deadline until) {
    const auto state = std::make_shared<Stream>(*this, std::move(body), id, work, until);
    return {.content_type = "text/event-stream; charset=utf-8",
            .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}},
            .more = [state](std::string& out) { return state->more(out); }};
  }
};

Server::Server(const ServeOptions& options, Report& report) : impl_(new Impl(options, report)) {}
Server::~Server() {
  impl_->draining = true;
  impl_->worker.cancel_all();
}

const std::string& Server::model_name() const { return impl_->name; }
int Server::port() const { return impl_->http.port(); }
const Engine& Server::engine() const { return impl_->engine; }
std::string Server::url() const {
  const std::string& host = impl_->options.http.host;
  return cat(impl_->options.http.tls_cert.empty() ? "http://" : "https://", host.find(':') == std::string::npos ? host : cat("[", host, "]"), ":", port());
}

void Server::drain(double seconds, const std::function<bool()>& hurry) {
  Impl& s = *impl_;
  s.draining = true;
  const auto wait = [&](Deadline until, const std::function<bool()>& enough) {
    while (s.http.busy() > 0 && Clock::now() < until && !enough()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  };
  wait(after(seconds), hurry);
  s.worker.cancel_all();
  wait(after(2), [] { return false; });  // for the ends of what was cancelled to be sent
  s.http.stop();
}

// ---- The verb ----

static std::atomic<int> end_signal{0};

// Signals begin the draining here, instead of ending loops with Stopped as they do in the other verbs.
struct EndSignals {
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before[3];
  EndSignals() {
    end_signal = 0;
    struct sigaction handle {};
    handle.sa_handler = [](int signal) { ++end_signal, (void)signal; };
    for (size_t i = 0; i < 3; ++i) {
      sigaction(kSignals[i], nullptr, &before[i]);
      if (before[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &handle, nullptr);
    }
  }
  ~EndSignals() {
    for (size_t i = 0; i < 3; ++i) sigaction(kSignals[i], &before[i], nullptr);
  }
};

void run_serve(const ServeOptions& options, Report& report) {
  ServeOptions full = options;
  if (const char* const key = std::getenv("DS_API_KEY"); key && *key) full.api_keys.emplace_back(key);
  Server server(full, report);
  const EndSignals signals;
  throw_if_stopped();              // by a signal while the model was loaded
  const std::string& host = full.http.host;
  if (full.api_keys.empty() && full.api_key_file.empty() && host != "localhost" && host != "::1" && !host.starts_with("127."))
    warn(host, " can be reached from other machines, and no API key is asked for: give one with --api-key-file or DS_API_KEY");
  say(cat("serving ", server.model_name(), " on ", server.url()));
  while (end_signal == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  info("draining for up to ", full.drain_seconds, " seconds");
  server.drain(full.drain_seconds, [] { return end_signal > 1; });
  report_engine(server.engine(), report);
  report_throughput(server.engine().throughput, report);
}

}  // namespace ds
