// The transport: whatever a client sends or leaves out, it gets an answer or is put out in time, and harms no other.
#include "run/http.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/resource.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/rng.h"
#include "run/http_client.h"

namespace ds {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A server that says what it got.
struct Echo {
  struct Done {
    std::string path;
    int status;
    bool complete;
  };
  std::mutex mutex;
  std::vector<Done> answered;
  std::atomic<bool> endless_gone = false;
  std::unique_ptr<HttpServer> server;

  explicit Echo(HttpOptions options = {}) {
    options.port = 0;
    server = std::make_unique<HttpServer>(
        options, HttpHandler{
                     .before_body = [](const HttpRequest& r) -> std::optional<HttpResponse> {
                       if (r.path == "/refused") return HttpResponse{.status = 401, .body = "no"};
                       if (r.method != "POST") return HttpResponse{.body = r.method + " " + r.path};
                       return {};
                     },
                     .answer = [this](const HttpRequest& r) { return answer(r); },
                     .error = [](int status, const std::string& message) { return HttpResponse{.status = status, .body = "error: " + message}; },
                     .done = [this](const HttpRequest& r, int status, double, bool complete) {
                       std::lock_guard lock(mutex);
                       answered.push_back({r.path, status, complete});
                     }});
    server->start();
  }
  HttpResponse answer(const HttpRequest& r) {
    if (r.path == "/wait") {
      while (!r.gone()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      endless_gone = true;
      return {.status = 499};
    }
    if (r.path == "/throw") throw std::runtime_error("what a client must not read");
    if (r.path == "/silent")
      return {.more = [guard = std::shared_ptr<void>(nullptr, [this](void*) { endless_gone = true; })](std::string&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        return true;
      }};
    if (r.path == "/endless")
      return {.more = [guard = std::shared_ptr<void>(nullptr, [this](void*) { endless_gone = true; })](std::string& piece) {
        piece.assign(100'000, 'x');
        return true;
      }};
    if (r.path == "/pieces") return {.content_type = "text/event-stream", .more = [n = 0](std::string& piece) mutable {
                                       if (n % 2 == 0) piece = "piece " + std::to_string(n / 2) + "\n";  // nothing in between
                                       return ++n < 8;
                                     }};
    return {.body = r.path + " " + std::to_string(r.body.size()) + " " + r.body.substr(0, 100)};
  }
  Done last() {
    std::lock_guard lock(mutex);
    return answered.empty() ? Done{} : answered.back();
  }
  bool wait_for(const std::function<bool()>& holds, double seconds = 5) {
    for (const auto start = Clock::now(); since(start) < seconds; std::this_thread::sleep_for(std::chrono::milliseconds(5)))
      if (holds()) return true;
    return holds();
  }
  std::string raw(const std::string& bytes, double seconds = 5) {
    RawClient client(server->port());
    client.send(bytes);
    return client.receive(seconds);
  }
};

std::string post(const std::string& body, const std::string& more = {}) {
  return "POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + more + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
bool starts(const std::string& answer, int status) { return answer.starts_with("HTTP/1.1 " + std::to_string(status) + " "); }

TEST(Http, AnswersOnOneConnection) {
  Echo echo;
  httplib::Client client("127.0.0.1", echo.server->port());
  client.set_keep_alive(true);
  for (int i = 0; i < 3; ++i) {
    const auto got = client.Get("/a");
    ASSERT_TRUE(got);
    EXPECT_EQ(got->body, "GET /a");
    const auto posted = client.Post("/b", "body", "text/plain");
    ASSERT_TRUE(posted);
    EXPECT_EQ(posted->body, "/b 4 body");
    EXPECT_EQ(echo.server->connections(), 1);
  }
  const auto head = client.Head("/a");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->body, "");
}

TEST(Http, TwoRequestsAtOnceAreAnsweredInOrder) {
  Echo echo;
  const std::string both = echo.raw("GET /one HTTP/1.1\r\nHost: h\r\n\r\n" + post("two"));
  const size_t one = both.find("GET /one"), two = both.find("/x 3 two");
  EXPECT_LT(one, two);
  EXPECT_NE(two, std::string::npos);
}

TEST(Http, BodiesInPieces) {
  Echo echo;
  httplib::Client client("127.0.0.1", echo.server->port());
  const auto got = client.Post("/pieces", "", "text/plain");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->body, "piece 0\npiece 1\npiece 2\npiece 3\n");
  EXPECT_TRUE(echo.wait_for([&] { return echo.last().complete && echo.last().path == "/pieces"; }));
  // HTTP/1.0 knows no chunks.
  const std::string old = echo.raw("POST /pieces HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
  EXPECT_NE(old.find("\r\n\r\npiece 0\npiece 1\n"), std::string::npos) << old;
}

TEST(Http, ALongBodyIsRefusedUnread) {
  Echo echo({.max_body_bytes = 1000});
  EXPECT_TRUE(starts(echo.raw(post(std::string(1000, 'a'))), 200));
  EXPECT_TRUE(starts(echo.raw(post(std::string(1001, 'a'))), 413));
  EXPECT_TRUE(starts(echo.raw(post(std::string(900'000, 'a'))), 413));  // sent whole, and the answer arrives all the same
  EXPECT_TRUE(starts(echo.raw("POST /x HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"), 413));
  std::string chunks = "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 100; ++i) chunks += "40\r\n" + std::string(64, 'c') + "\r\n";
  EXPECT_TRUE(starts(echo.raw(chunks), 413));
  const std::string few = echo.raw("POST /x HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  EXPECT_NE(few.find("/x 3 abc"), std::string::npos) << few;
}

TEST(Http, ACompressedBombIsALongBody) {
  Echo echo({.max_body_bytes = 10'000});
  httplib::Client client("127.0.0.1", echo.server->port());
  client.set_compress(true);
  const auto small = client.Post("/x", std::string(9'000, 'a'), "text/plain");
  ASSERT_TRUE(small);
  EXPECT_EQ(small->body.substr(0, 7), "/x 9000");
  const auto bomb = client.Post("/x", std::string(5'000'000, 'a'), "text/plain");
  ASSERT_TRUE(bomb);
  EXPECT_EQ(bomb->status, 413);
}

TEST(Http, AnUnclearLengthIsRefused) {
  Echo echo;
  EXPECT_TRUE(starts(echo.raw("POST /x HTTP/1.1\r\nHost: h\r\n\r\n"), 411));
  EXPECT_TRUE(starts(echo.raw("POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400));
  EXPECT_TRUE(starts(echo.raw("POST /x HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"), 400));
  EXPECT_TRUE(starts(echo.raw("POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400));
  EXPECT_TRUE(starts(echo.raw("POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400));
  RawClient half(echo.server->port());
  half.send("POST /x HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
  half.end_sending();
  EXPECT_TRUE(starts(half.receive(), 400));
}

TEST(Http, GarbageIsAnsweredAndClosed) {
  Echo echo({.read_seconds = 1});
  EXPECT_TRUE(starts(echo.raw("hello\r\n\r\n"), 400));
  EXPECT_TRUE(starts(echo.raw("GET /a HTTP/9.9\r\n\r\n"), 400));
  EXPECT_TRUE(starts(echo.raw("GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n"), 414));
  const Rng rng{1, 2};
  for (uint64_t round = 0, at = 0; round < 200; ++round) {
    std::string bytes = round % 2 ? post("body") : "";
    for (uint64_t n = rng.below(at++, 300); n > 0; --n) {
      const size_t place = rng.below(at++, bytes.size() + 1);
      bytes.insert(place, 1, static_cast<char>(rng.below(at++, 256)));
    }
    RawClient client(echo.server->port());
    client.send(bytes);
    client.end_sending();
    client.receive(3);
    EXPECT_TRUE(client.closed) << round;
  }
  EXPECT_NE(echo.raw(post("still there")).find("/x 11 still there"), std::string::npos);
}

TEST(Http, HeadsHaveASize) {
  Echo echo;
  // Neither one endless line nor endless lines are kept.
  std::string answer = echo.raw("GET /a HTTP/1.1\r\nX: " + std::string(200'000, 'y'));
  EXPECT_TRUE(answer.empty() || starts(answer, 400) || starts(answer, 431)) << answer.substr(0, 100);
  std::string lines = "GET /a HTTP/1.1\r\n";
  for (int i = 0; i < 20'000; ++i) lines += "X-" + std::to_string(i) + ": y\r\n";
  EXPECT_TRUE(starts(echo.raw(lines + "\r\n"), 431));
}

TEST(Http, SlowHeadsAndBodiesHaveATime) {
  Echo echo({.read_seconds = 0.5});
  for (const std::string& begin : {std::string("GET /a HTTP/1.1\r\nX-A: "), std::string("POST /x HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")}) {
    RawClient slow(echo.server->port());
    slow.send(begin);
    const auto start = Clock::now();
    std::string answer;
    while (!slow.closed && since(start) < 5) {  // a byte every 20 ms
      slow.send("z");
      answer += slow.receive(0.02);
    }
    EXPECT_TRUE(slow.closed);
    EXPECT_LT(since(start), 3);
    EXPECT_TRUE(starts(answer, 408)) << answer;
  }
}

TEST(Http, IdleConnectionsAreClosed) {
  Echo echo({.idle_seconds = 0.4});
  RawClient silent(echo.server->port()), after_one(echo.server->port());
  after_one.send("GET /a HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(starts(after_one.receive(5), 200));
  EXPECT_TRUE(after_one.closed);
  silent.receive(5);
  EXPECT_TRUE(silent.closed);
  EXPECT_TRUE(echo.wait_for([&] { return echo.server->connections() == 0; }));
}

TEST(Http, OneConnectionTooMany) {
  Echo echo({.connections = 3});
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(std::make_unique<RawClient>(echo.server->port()));
  ASSERT_TRUE(echo.wait_for([&] { return echo.server->connections() == 3; }));
  const std::string refused = echo.raw("GET /a HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(starts(refused, 503)) << refused;
  EXPECT_NE(refused.find("Retry-After"), std::string::npos);
  clients.clear();
  ASSERT_TRUE(echo.wait_for([&] { return echo.server->connections() == 0; }));
  EXPECT_TRUE(starts(echo.raw("GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"), 200));
}

TEST(Http, AClientThatLeavesIsNoticed) {
  Echo echo;
  for (const std::string path : {"/wait", "/endless", "/silent"}) {
    echo.endless_gone = false;
    RawClient client(echo.server->port());
    client.send("POST " + path + " HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    client.receive(0.2);
    EXPECT_FALSE(echo.endless_gone);
    client.close();
    EXPECT_TRUE(echo.wait_for([&] { return echo.endless_gone.load() && !echo.last().complete; })) << path;
  }
}

TEST(Http, AClientThatDoesNotReadIsPutOut) {
  Echo echo({.write_seconds = 0.3});
  RawClient client(echo.server->port(), 4096);
  client.send("POST /endless HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  const auto start = Clock::now();
  EXPECT_TRUE(echo.wait_for([&] { return echo.endless_gone.load(); }));
  EXPECT_LT(since(start), 3);
  EXPECT_TRUE(echo.wait_for([&] { return echo.server->connections() == 0; }));
}

TEST(Http, AClientThatReadsAByteNowAndThenIsPutOut) {
  Echo echo({.write_seconds = 0.4});
  RawClient client(echo.server->port(), 4096);
  client.send("POST /endless HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  const auto start = Clock::now();
  size_t got = 0;
  for (; !echo.endless_gone && since(start) < 10; std::this_thread::sleep_for(std::chrono::milliseconds(50)))
    got += client.receive(0.02, "x").size();  // 4 KiB at most each time, of pieces of 100 KB
  EXPECT_TRUE(echo.endless_gone);
  EXPECT_GT(got, 0u);
}

TEST(Http, WithoutAThreadForItAConnectionIsRefused) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs address space of its own";
#endif
  Echo echo({.connections = 200});
  ASSERT_TRUE(starts(echo.raw("GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"), 200));
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit little = before;
  little.rlim_cur = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + (size_t{4} << 20);  // less than the stack of a thread
  ASSERT_EQ(setrlimit(RLIMIT_AS, &little), 0);
  std::string refused;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 100 && refused.empty(); ++i) {  // some threads have stacks of others that ended
    clients.push_back(std::make_unique<RawClient>(echo.server->port()));
    clients.back()->send("GET /a HTTP/1.1\r\n\r\n");
    const std::string answer = clients.back()->receive(5, "GET /a");
    if (!starts(answer, 200)) refused = answer;
  }
  setrlimit(RLIMIT_AS, &before);
  EXPECT_TRUE(starts(refused, 503)) << refused;
  EXPECT_NE(refused.find("no room"), std::string::npos) << refused;
  EXPECT_TRUE(clients.back()->closed);
  clients.clear();
  EXPECT_TRUE(echo.wait_for([&] { return echo.server->connections() == 0; }));
  EXPECT_TRUE(starts(echo.raw("GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"), 200));
}

TEST(Http, AHandlerThatFailsTellsNothing) {
  Echo echo;
  const std::string answer = echo.raw("POST /throw HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(starts(answer, 500));
  EXPECT_EQ(answer.find("must not read"), std::string::npos) << answer;
}

TEST(Http, AnEarlyAnswerLeavesNoBodyBehind) {
  Echo echo;  // what follows a refused head must not be taken for a request
  const std::string answer = echo.raw("POST /refused HTTP/1.1\r\nContent-Length: 30\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n.....");
  EXPECT_TRUE(starts(answer, 401));
  EXPECT_EQ(answer.find("smuggled"), std::string::npos);
}

TEST(Http, AnswersAreNeitherCompressedNorCut) {
  Echo echo;
  const std::string answer = echo.raw("GET /a HTTP/1.1\r\nConnection: close\r\nAccept-Encoding: br, gzip\r\nRange: bytes=0-1\r\n\r\n");
  EXPECT_TRUE(starts(answer, 200));
  EXPECT_NE(answer.find("GET /a"), std::string::npos) << answer;
}

TEST(Http, EndsAfterTheAnswersUnderWay) {
  Echo echo;
  RawClient waiting(echo.server->port()), idle(echo.server->port());
  waiting.send("POST /wait HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(echo.wait_for([&] { return echo.server->busy() == 1; }));
  echo.server->close_when_answered();
  EXPECT_FALSE(RawClient(echo.server->port()).connected);
  idle.receive(5);
  EXPECT_TRUE(idle.closed);
  EXPECT_EQ(echo.server->busy(), 1);
  echo.server->stop();             // cuts the one that waits for ever
  EXPECT_EQ(echo.server->connections(), 0);
}

TEST(Http, WhatCannotBeBoundIsAnError) {
  Echo echo;
  EXPECT_THROW(HttpServer({.port = echo.server->port()}, {}), Error);
  EXPECT_THROW(HttpServer({.host = "no such host", .port = 0}, {}), Error);
  EXPECT_THROW(HttpServer({.port = 0, .tls_cert = "/nonexistent", .tls_key = "/nonexistent"}, {}), Error);
  EXPECT_THROW(HttpServer({.port = 0, .tls_cert = "/nonexistent"}, {}), UsageError);
}

TEST(Http, UnderTls) {
  std::string folder = (std::filesystem::temp_directory_path() / "ds-tls-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string cert = folder + "/cert.pem", key = folder + "/key.pem";
  const std::string make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout " + key + " -out " + cert + " 2> /dev/null";
  if (std::system(make.c_str()) != 0) GTEST_SKIP() << "no openssl to make a certificate with";
  {
    Echo echo({.tls_cert = cert, .tls_key = key, .read_seconds = 0.5, .write_seconds = 0.5});
    httplib::SSLClient client("127.0.0.1", echo.server->port());
    client.enable_server_certificate_verification(false);
    client.set_keep_alive(true);
    const auto got = client.Post("/x", std::string(200'000, 'a'), "text/plain");
    ASSERT_TRUE(got) << httplib::to_string(got.error());
    EXPECT_EQ(got->body.substr(0, 9), "/x 200000");
    EXPECT_EQ(client.Post("/pieces", "", "text/plain")->body, "piece 0\npiece 1\npiece 2\npiece 3\n");
    EXPECT_EQ(echo.raw("GET /a HTTP/1.1\r\n\r\n").find("HTTP"), std::string::npos);  // plain text on a TLS port
    RawClient silent(echo.server->port());                                           // never begins the handshake
    silent.receive(5);
    EXPECT_TRUE(silent.closed);
    EXPECT_THROW(HttpServer({.port = 0, .tls_cert = key, .tls_key = cert}, {}), Error);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ds
