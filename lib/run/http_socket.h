// Inside the server: a connected socket, plain or under TLS, whose reads and writes end in time.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <sys/types.h>

namespace ds {

// Keys and certificate of a server; null in a Socket: no TLS.
class TlsContext {
 public:
  TlsContext(const std::string& cert_file, const std::string& key_file);  // Error for files that cannot be used
  ~TlsContext();
  void* get() const { return context_; }

 private:
  void* context_;
};

using Deadline = std::chrono::steady_clock::time_point;
inline Deadline after(double seconds) {
  return std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
}

class Socket {
 public:
  // Owns the descriptor, which does not block.
  Socket(int descriptor, const TlsContext* tls);
  ~Socket();
  Socket(const Socket&) = delete;

  int descriptor() const { return descriptor_; }
  bool handshake(Deadline until);                             // of TLS; true at once without
  // Bytes read, 0 at the end, -1 where the time is over or the connection broken.
  ssize_t read(char* data, size_t size, Deadline until);
  // All of it; false where the other side took neither kWritePart bytes nor the rest within so many seconds, so that one that
  // takes a byte now and then holds nothing for ever.
  bool write(const char* data, size_t size, double seconds);
  static constexpr size_t kWritePart = 256 << 10;
  bool buffered() const { return begin_ < end_; }
  bool wait_readable(Deadline until) const;
  bool gone() const;                                          // closed by the other side, at least for sending
  bool timed_out() const { return timed_out_; }
  // Ends the connection so that what was sent arrives although not all was read that the client sends.
  void finish(bool unread);

 private:
  bool wait(short events, Deadline until) const;
  ssize_t receive(char* data, size_t size, Deadline until);
  int descriptor_;
  void* tls_ = nullptr;
  bool broken_ = false, timed_out_ = false;
  size_t begin_ = 0, end_ = 0;
  char buffer_[8192];
};

}  // namespace ds
