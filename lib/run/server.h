// An HTTP server with OpenAI's API over one model: completions, chat completions, embeddings, models; health and metrics.
//
// Connections have threads that read, check and write; one thread more owns the engine and computes (server_work.h). What a
// request is answered does not depend on the others, nor on how it came here: the text is that of ds-run generate.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "run/http.h"
#include "run/records.h"

namespace ds {

struct ServeOptions {
  RunOptions run;                  // model, its name in the API, engine, scheduler, seed, pooling, chat template; sampling:
                                   // what a request leaves out
  HttpOptions http;
  std::string api_key_file;        // a key a line
  std::vector<std::string> api_keys = {};  // more keys; with none at all everyone is let in
  int64_t max_tokens = kOpenAiMaxTokens;       // of an answer at most, and what a request that says nothing gets
  int64_t queue = 256;             // prompts that may wait, beside those under way
  double request_seconds = 600;    // until a request is answered, its time in the queue included
  double drain_seconds = 30;
};

class Server {
 public:
  // Loads the model and takes requests from then on.
  Server(const ServeOptions& options, Report& report);
  ~Server();                       // ends at once
  const std::string& model_name() const;
  int port() const;
  std::string url() const;         // "http://127.0.0.1:8080"
  // Takes no new work (503, /health too), waits for what is under way, but no longer than `seconds` or until hurry() is
  // true, ends the rest ("cancelled"), and closes all connections.
  void drain(double seconds, const std::function<bool()>& hurry = [] { return false; });
  const Engine& engine() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Serves until SIGINT, SIGTERM or SIGHUP, then drains; a second signal ends the draining. Says the address on standard error.
void run_serve(const ServeOptions& options, Report& report);

}  // namespace ds
