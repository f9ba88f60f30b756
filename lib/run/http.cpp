// cpp-httplib reads requests and writes answers here. Listening, threads, and the limits of time and size are ours: the
// library's own server has none for a head as a whole, for a chunked body, or for connections that wait.
#include "run/http.h"

#include <httplib.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "run/http_socket.h"

namespace ds {
namespace {

constexpr size_t kHeadBytes = 32 << 10;  // of a request's line and headers together
constexpr int kSendBuffer = 256 << 10;

std::string address_of(int descriptor) {
  sockaddr_storage name;
  socklen_t size = sizeof name;
  char host[NI_MAXHOST] = "";
  auto* const address = reinterpret_cast<sockaddr*>(&name);
  if (getpeername(descriptor, address, &size) == 0) getnameinfo(address, size, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

// A connection as the library sees it, and what is known of the request under way.
class Connection : public httplib::Stream {
 public:
  Connection(int descriptor, const TlsContext* tls, const HttpOptions& options)
      : link(descriptor, tls), peer(address_of(descriptor)), options_(options) {}

  Socket link;
  std::string peer;
  HttpRequest request;
  bool head_read = false, head_too_long = false, body_too_long = false;
  bool unread = false;             // some of its body
  bool close = false;              // the connection, after the answer
  bool pieces_ended = true;        // of a body in pieces: the last one was written
  Deadline head_at{};
  int status = 0;                  // of the answer; 0: there was no request

  // A request's first bytes are there: from now on head and body have their time.
  void begin() {
    head_read = head_too_long = body_too_long = unread = failed_ = false;
    pieces_ended = true;
    status = 0;
    request = {.peer = peer, .gone = [this] { return link.gone(); }};
    read_until_ = after(options_.read_seconds);
    head_left_ = kHeadBytes;
    body_left_ = 2 * options_.max_body_bytes + kHeadBytes;
    head_at = std::chrono::steady_clock::now();
  }
  bool complete() const { return !failed_ && pieces_ended; }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return !failed_ && !link.gone(); }
  ssize_t read(char* data, size_t size) override {
    if (!head_read) {
      if (head_left_ == 0) return head_too_long = true, -1;
      size = std::min(size, head_left_);
    } else {
      if (body_left_ == 0) return body_too_long = true, -1;
      size = std::min(size, body_left_);
    }
    const ssize_t got = link.read(data, size, read_until_);
    if (got > 0) (head_read ? body_left_ : head_left_) -= static_cast<size_t>(got);
    return got;
  }
  ssize_t write(const char* data, size_t size) override {
    if (failed_ || !link.write(data, size, options_.write_seconds)) return failed_ = true, -1;
    return static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { ip = peer, port = 0; }
  void get_local_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  socket_t socket() const override { return 0; }  // the library only asks whether select() could take it

 private:
  const HttpOptions& options_;
  Deadline read_until_{};
  size_t head_left_ = 0, body_left_ = 0;  // body: as it comes, with the sizes and trailers of its chunks
  bool failed_ = false;            // a write
};

thread_local Connection* current = nullptr;  // of this thread, while the library handles its request

// The part of the library that reads one request and writes its answer.
class Protocol : public httplib::Server {
 public:
  Protocol(const HttpOptions& options, const HttpHandler& handler) : options_(options), handler_(handler) {
    svr_sock_ = 0;  // any that is valid: else the library ends answers that are made of pieces
    set_keep_alive_timeout(static_cast<time_t>(options.idle_seconds));
    set_keep_alive_max_count(1'000'000);
    set_pre_routing_handler([this](const httplib::Request& head, httplib::Response& out) {
      // Requests without a body come here; the head is kept, as a body may follow.
      HttpRequest& request = current->request;
      request.method = head.method, request.path = head.path;
      request.content_type = head.get_header_value("Content-Type");
      request.authorization = head.get_header_value("Authorization");
      std::optional<HttpResponse> response = handler_.before_body(request);
      if (!response) return HandlerResponse::Unhandled;
      const std::string length = head.get_header_value("Content-Length");
      if ((!length.empty() && length != "0") || head.has_header("Transfer-Encoding")) current->unread = true;
      fill(out, head, std::move(*response));
      return HandlerResponse::Handled;
    });
    Post("/.*", [this](const httplib::Request& head, httplib::Response& out, const httplib::ContentReader& reader) {
      if (std::optional<HttpResponse> wrong = read_body(head, reader)) return fill(out, head, std::move(*wrong));
      fill(out, head, handler_.answer(current->request));
    });
    set_error_handler(Handler([this](const httplib::Request& head, httplib::Response& out) {
      if (!out.body.empty() || out.content_provider_) return;  // one of ours
      const int status = current->link.timed_out() ? 408 : current->head_too_long ? 431 : out.status;
      fill(out, head, handler_.error(status, status == 408   ? cat("the request was not there within ", options_.read_seconds, " seconds")
                                             : status == 431 ? cat("the request's head has more than ", kHeadBytes, " bytes")
                                             : status == 414 ? "the request's address is too long"
                                                             : "the request is not HTTP"));
    }));
    set_exception_handler([this](const httplib::Request& head, httplib::Response& out, std::exception_ptr) {
      fill(out, head, handler_.error(500, "the server failed"));
    });
  }

  // One request; false: the connection is to be closed.
  bool serve(Connection& connection, bool last) {
    current = &connection;
    bool closed = false;
    connection.begin();
    const bool good = process_request(connection, last, closed, [&](httplib::Request& head) {
      connection.head_read = true;
      // Not asked of us: compressed answers (slow beside the model) and parts of them.
      head.headers.erase("Accept-Encoding");
      head.ranges.clear();
    });
    current = nullptr;
    return good && !closed && !last && connection.head_read && !connection.unread && !connection.close;
  }

 private:
  // The answer to a body that cannot be read; nothing where it is there.
  std::optional<HttpResponse> read_body(const httplib::Request& head, const httplib::ContentReader& reader) {
    std::string& body = current->request.body;
    const size_t most = options_.max_body_bytes;
    const bool chunked = head.has_header("Transfer-Encoding");
    const std::string length = head.get_header_value("Content-Length");
    current->unread = true;
    const auto too_long = [&] { return handler_.error(413, cat("the body has more than ", most, " bytes")); };
    if (chunked && (strcasecmp(head.get_header_value("Transfer-Encoding").c_str(), "chunked") != 0 || !length.empty() ||
                    head.get_header_value_count("Transfer-Encoding") > 1))
      return handler_.error(400, "the length of the body is not clear: give Content-Length, or Transfer-Encoding: chunked");
    if (!chunked) {
      if (length.empty()) return handler_.error(411, "the request has no Content-Length");
      if (head.get_header_value_count("Content-Length") > 1 || !std::all_of(length.begin(), length.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return handler_.error(400, "the Content-Length is not a number");
      if (length.size() > 18 || std::stoull(length) > most) return too_long();
    }
    bool over = false;
    const bool good = reader([&](const char* data, size_t size) {
      over = size > most - body.size();  // the library has decompressed it
      if (!over) body.append(data, size);
      return !over;
    });
    if (over || current->body_too_long) return too_long();
    if (current->link.timed_out()) return handler_.error(408, cat("the body was not there within ", options_.read_seconds, " seconds"));
    if (!good) return handler_.error(400, "the body ended early, or is not encoded as the head says");
    current->unread = false;
    return {};
  }

  static void fill(httplib::Response& out, const httplib::Request& head, HttpResponse&& in) {
    Connection* const connection = current;
    out.status = connection->status = in.status;
    for (auto& [name, value] : in.headers) out.set_header(name, value);
    if (connection->unread) out.set_header("Connection", "close");
    if (!in.more) {
      out.body = std::move(in.body);
      out.set_header("Content-Type", in.content_type);
      return;
    }
    connection->pieces_ended = false;
    const auto provider = [connection, more = std::move(in.more), piece = std::string()](size_t, httplib::DataSink& sink) mutable {
      if (connection->link.gone()) return false;  // the library would only see it in a write
      piece.clear();
      bool goes_on = false;
      try {
        goes_on = more(piece);
      } catch (const std::exception&) {
        return false;  // no memory, say; the library does not expect it
      }
      if (!piece.empty() && !sink.write(piece.data(), piece.size())) return false;
      if (!goes_on) sink.done(), connection->pieces_ended = true;
      return true;
    };
    if (head.version == "HTTP/1.0") {  // knows no chunks: the body ends with the connection
      connection->close = true;
      out.set_content_provider(in.content_type, provider);
    } else {
      out.set_chunked_content_provider(in.content_type, provider);
    }
  }

  const HttpOptions& options_;
  const HttpHandler& handler_;
};

// A socket at a host and port, which does not listen yet.
int bind_to(const std::string& host, int64_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  const int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  require(failed == 0, host, ":", port, ": ", gai_strerror(failed));
  int descriptor = -1, error = 0;
  for (const addrinfo* one = found; one && descriptor < 0; one = one->ai_next) {
    descriptor = ::socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, one->ai_protocol);
    const int yes = 1;
    if (descriptor >= 0) setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (descriptor >= 0 && bind(descriptor, one->ai_addr, one->ai_addrlen) == 0) break;
    error = errno;
    if (descriptor >= 0) close(descriptor);
    descriptor = -1;
  }
  freeaddrinfo(found);
  require(descriptor >= 0, "cannot listen on ", host, ":", port, ": ", std::strerror(error));
  return descriptor;
}

}  // namespace

struct HttpServer::Impl {
  HttpOptions options;
  HttpHandler handler;
  Protocol protocol;
  std::unique_ptr<TlsContext> tls;
  int listener = -1, wake = -1;    // wake: readable once no connection is taken any more
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<int> accepted;        // wait for a thread
  std::set<int> open;              // descriptors, for stop()
  std::vector<std::thread> threads;
  size_t idle = 0;                 // threads
  std::atomic<int64_t> connections = 0, busy = 0;
  std::atomic<bool> closing = false;
  std::thread acceptor;

  Impl(const HttpOptions& o, HttpHandler h) : options(o), handler(std::move(h)), protocol(options, handler) {
    require(options.connections > 0, "the number of connections is ", options.connections);
    if (options.tls_cert.empty() != options.tls_key.empty()) throw UsageError("TLS needs both --tls-cert and --tls-key");
    if (!options.tls_cert.empty()) tls = std::make_unique<TlsContext>(options.tls_cert, options.tls_key);
    listener = bind_to(options.host, options.port);
    wake = eventfd(0, EFD_CLOEXEC);
  }
  ~Impl() { close(listener), close(wake); }

  void accept_all() {
    while (!closing) {
      pollfd both[2] = {{listener, POLLIN, 0}, {wake, POLLIN, 0}};
      if (poll(both, 2, -1) <= 0 || both[1].revents) continue;
      const int descriptor = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor >= 0) {
        const int yes = 1;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        // The system would keep megabytes for each client that does not read.
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
        try {
          take(descriptor);
        } catch (const std::exception&) {  // not even memory to say no
          close(descriptor);
        }
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // until a connection has gone
      }
    }
  }

  // Takes a connection, or says why not.
  void take(int descriptor) {
    std::string why = cat("there are ", options.connections, " connections already: try again later");
    {
      std::lock_guard lock(mutex);
      if (connections < options.connections) try {
          open.insert(descriptor);
          accepted.push_back(descriptor);
          if (idle < accepted.size()) threads.emplace_back([this] { work(); });
          ++connections;
          changed.notify_one();
          return;
        } catch (const std::exception&) {  // the system gives no thread, or no memory
          open.erase(descriptor);
          if (!accepted.empty() && accepted.back() == descriptor) accepted.pop_back();
          why = "the server has no room for one more connection: try again later";
        }
    }
    if (!tls) {
      const HttpResponse full = handler.error(503, why);
      const std::string text = cat("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: ", full.content_type,
                                   "\r\nContent-Length: ", full.body.size(), "\r\n\r\n", full.body);
      char waste[4096];  // what the client has sent so far, so that closing does not reset the connection
      [[maybe_unused]] ssize_t ignored = recv(descriptor, waste, sizeof waste, 0);
      ignored = send(descriptor, text.data(), text.size(), MSG_NOSIGNAL);
    }
    close(descriptor);
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      ++idle;
      changed.wait(lock, [&] { return !accepted.empty() || closing; });
      --idle;
      if (accepted.empty()) return;
      const int descriptor = accepted.front();
      accepted.pop_front();
      lock.unlock();
      try {
        Connection connection(descriptor, tls.get(), options);
        try {
          converse(connection);
        } catch (const std::exception&) {  // no memory to log with, say
        }
        lock.lock();
        open.erase(descriptor);    // before it is closed, and another has its number
      } catch (const std::exception&) {  // no memory for a connection: it is closed already
        if (!lock.owns_lock()) lock.lock();
        open.erase(descriptor);
      }
      --connections;
    }
  }

  // The requests of a connection, one after the other.
  void converse(Connection& connection) {
    if (!connection.link.handshake(after(options.read_seconds))) return;
    for (bool more = true; more;) {
      const Deadline until = after(options.idle_seconds);
      while (!connection.link.wait_readable(std::min(until, after(0.2))))  // looks at `closing` now and then
        if (closing || std::chrono::steady_clock::now() >= until) return connection.link.finish(false);
      ++busy;
      try {
        more = protocol.serve(connection, closing);
      } catch (const std::exception&) {
        more = false;
      }
      if (connection.status) {
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - connection.head_at;
        handler.done(connection.request, connection.status, seconds.count(), connection.complete());
      }
      --busy;
    }
    connection.link.finish(connection.unread || !connection.head_read);
  }
};

HttpServer::HttpServer(const HttpOptions& options, HttpHandler handler) : impl_(new Impl(options, std::move(handler))) {}
HttpServer::~HttpServer() { stop(); }

void HttpServer::start() {
  Impl& s = *impl_;
  require(listen(s.listener, SOMAXCONN) == 0, "cannot listen on ", s.options.host, ":", port(), ": ", std::strerror(errno));
  s.acceptor = std::thread([&s] { s.accept_all(); });
}

int HttpServer::port() const {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  getsockname(impl_->listener, reinterpret_cast<sockaddr*>(&name), &size);
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&name)->sin6_port : reinterpret_cast<sockaddr_in*>(&name)->sin_port);
}
int64_t HttpServer::connections() const { return impl_->connections; }
int64_t HttpServer::busy() const { return impl_->busy; }

void HttpServer::close_when_answered() {
  Impl& s = *impl_;
  if (!s.acceptor.joinable()) return;
  {
    std::lock_guard lock(s.mutex);
    s.closing = true;
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(s.wake, &one, sizeof one);
  s.acceptor.join();
  shutdown(s.listener, SHUT_RDWR);  // refuses; the descriptor stays, so that no other has its number
  s.changed.notify_all();
}

void HttpServer::stop() {
  Impl& s = *impl_;
  close_when_answered();
  {
    std::lock_guard lock(s.mutex);
    for (const int descriptor : s.open) shutdown(descriptor, SHUT_RDWR);
  }
  for (std::thread& thread : s.threads)
    if (thread.joinable()) thread.join();
  s.threads.clear();
}

}  // namespace ds
