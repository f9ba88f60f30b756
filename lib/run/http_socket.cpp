#include "run/http_socket.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace ds {

using Clock = std::chrono::steady_clock;

static std::string tls_error() {
  char text[256] = "no reason given";
  if (const unsigned long code = ERR_get_error()) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

TlsContext::TlsContext(const std::string& cert_file, const std::string& key_file) {
  SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
  require(context != nullptr, "TLS: ", tls_error());
  context_ = context;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  std::string wrong;
  if (SSL_CTX_use_certificate_chain_file(context, cert_file.c_str()) != 1)
    wrong = cat(cert_file, ": expected a certificate in PEM: ", tls_error());
  else if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    wrong = cat(key_file, ": expected the key of ", cert_file, " in PEM, without a passphrase: ", tls_error());
  if (!wrong.empty()) {
    SSL_CTX_free(context);
    fail(wrong);
  }
}
TlsContext::~TlsContext() { SSL_CTX_free(static_cast<SSL_CTX*>(context_)); }

static SSL* ssl(void* tls) { return static_cast<SSL*>(tls); }

Socket::Socket(int descriptor, const TlsContext* tls) : descriptor_(descriptor) {
  if (!tls) return;
  tls_ = SSL_new(static_cast<SSL_CTX*>(tls->get()));
  broken_ = !tls_ || SSL_set_fd(ssl(tls_), descriptor) != 1;
}

Socket::~Socket() {
  if (tls_) SSL_free(ssl(tls_));
  close(descriptor_);
}

bool Socket::wait(short events, Deadline until) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    pollfd one{descriptor_, events, 0};
    const int found = poll(&one, 1, static_cast<int>(std::min<decltype(left)>(left, 60'000)));
    if (found > 0) return true;  // an error or the end too: the call that follows tells
    if (found < 0 && errno != EINTR) return false;
  }
}

bool Socket::wait_readable(Deadline until) const {
  return buffered() || (tls_ && SSL_pending(ssl(tls_)) > 0) || wait(POLLIN, until);
}

// What a call of OpenSSL waits for: POLLIN, POLLOUT, or 0 where it failed for good.
static short wanted(SSL* tls, int result) {
  const int error = SSL_get_error(tls, result);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ ? POLLIN : error == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

bool Socket::handshake(Deadline until) {
  if (!tls_) return !broken_;
  while (!broken_) {
    const int result = SSL_accept(ssl(tls_));
    if (result == 1) return true;
    const short events = wanted(ssl(tls_), result);
    if (!events || !wait(events, until)) broken_ = true;
  }
  return false;
}

ssize_t Socket::receive(char* data, size_t size, Deadline until) {
  while (!broken_) {
    short events = POLLIN;
    if (tls_) {
      const int got = SSL_read(ssl(tls_), data, static_cast<int>(size));
      if (got > 0) return got;
      if (SSL_get_error(ssl(tls_), got) == SSL_ERROR_ZERO_RETURN) return 0;
      events = wanted(ssl(tls_), got);
    } else {
      const ssize_t got = recv(descriptor_, data, size, 0);
      if (got >= 0) return got;
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) events = 0;
    }
    if (!events) broken_ = true;
    else if (!wait(events, until)) return timed_out_ = true, -1;
  }
  return -1;
}

ssize_t Socket::read(char* data, size_t size, Deadline until) {
  if (Clock::now() >= until) return timed_out_ = true, -1;  // also where the client always has one byte more
  if (!buffered()) {
    const ssize_t got = receive(buffer_, sizeof buffer_, until);
    if (got <= 0) return got;
    begin_ = 0, end_ = static_cast<size_t>(got);
  }
  const size_t taken = std::min(size, end_ - begin_);
  std::memcpy(data, buffer_ + begin_, taken);
  begin_ += taken;
  return static_cast<ssize_t>(taken);
}

bool Socket::write(const char* data, size_t size, double seconds) {
  Deadline until = after(seconds);
  for (size_t taken = 0; size > 0 && !broken_;) {
    short events = POLLOUT;
    ssize_t sent = 0;
    if (tls_) {
      sent = SSL_write(ssl(tls_), data, static_cast<int>(std::min<size_t>(size, 1 << 20)));
      if (sent <= 0) events = wanted(ssl(tls_), static_cast<int>(sent));
    } else {
      sent = send(descriptor_, data, size, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) events = 0;
    }
    if (sent <= 0) {
      if (!events || !wait(events, until)) broken_ = true;
      continue;
    }
    data += sent, size -= static_cast<size_t>(sent), taken += static_cast<size_t>(sent);
    if (taken >= kWritePart) taken = 0, until = after(seconds);
  }
  return size == 0;
}

bool Socket::gone() const {
  if (broken_) return true;
  pollfd one{descriptor_, POLLRDHUP, 0};
  return poll(&one, 1, 0) > 0 && (one.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

void Socket::finish(bool unread) {
  if (broken_) return;
  if (tls_) SSL_shutdown(ssl(tls_));
  shutdown(descriptor_, SHUT_WR);
  // Closing with unread bytes would send a reset, and that takes back an answer that the client has not read yet.
  char waste[8192];
  size_t most = size_t{4} << 20;
  for (const Deadline until = after(2); unread && most > 0 && Clock::now() < until;) {
    const ssize_t got = recv(descriptor_, waste, sizeof waste, 0);
    if (got == 0) return;
    if (got > 0) most -= std::min(most, static_cast<size_t>(got));
    else if (errno != EINTR && ((errno != EAGAIN && errno != EWOULDBLOCK) || !wait(POLLIN, until))) return;
  }
}

}  // namespace ds
