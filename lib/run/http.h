// HTTP/1.1 with or without TLS: connections, their threads and their limits. What is answered is for its user to say.
//
// Each connection has a thread while it is there, at most `connections` of them. Nothing that a client sends or leaves out
// holds one for longer than the limits allow, and what it sends is counted before it is kept.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ds {

struct HttpOptions {
  std::string host = "127.0.0.1";  // a name or an address
  int64_t port = 8080;             // 0: a free one
  std::string tls_cert, tls_key;   // PEM files, the chain first to last; both or none
  int64_t connections = 256;       // one more is answered with 503
  size_t max_body_bytes = size_t{4} << 20;
  double read_seconds = 20;        // until head and body of a request are there, and the TLS handshake is done
  double write_seconds = 30;       // for a client to take 256 KiB of what it is sent, or all
  double idle_seconds = 60;        // between two requests
};

struct HttpRequest {
  std::string method, path;        // "" where the head could not be read
  std::string content_type, authorization;
  std::string body;
  std::string peer;                // its address
  std::function<bool()> gone;      // whether the client has closed its connection
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
  // Where it is set the body is made of pieces: it appends what there is, waits for some of it for at most a fraction of a
  // second (it may append nothing), and returns whether there will be more. Not called again once the client is gone.
  std::function<bool(std::string& piece)> more = {};
};

// Called by the threads of connections, several at a time.
struct HttpHandler {
  // After the head: the answer to a request whose body nobody needs (a wrong path, no key, GET). Nothing for a POST: the
  // body is read.
  std::function<std::optional<HttpResponse>(const HttpRequest&)> before_body;
  std::function<HttpResponse(const HttpRequest&)> answer;
  // What an answer that the transport itself gives looks like (400, 408, 411, 413, 414, 503).
  std::function<HttpResponse(int status, const std::string& message)> error;
  // After every answer: its status, the seconds since the head was there, and whether all of it was sent.
  std::function<void(const HttpRequest&, int status, double seconds, bool complete)> done;
};

class HttpServer {
 public:
  // Has the address; an address or certificate that cannot be used is an Error.
  HttpServer(const HttpOptions& options, HttpHandler handler);
  ~HttpServer();                   // stop()
  void start();                    // connections are taken from now on
  int port() const;
  int64_t connections() const;     // that are open
  int64_t busy() const;            // that have a request under way
  // Takes no more connections, closes those without a request and, after their answer, the others.
  void close_when_answered();
  void stop();                     // the same at once: answers under way are cut

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
