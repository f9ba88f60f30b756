// A raw TCP client: what a well-behaved HTTP library would not send.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>

namespace ds {

class RawClient {
 public:
  explicit RawClient(int port, int receive_buffer = 0) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected = connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  bool connected = false;
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void end_sending() { shutdown(fd_, SHUT_WR); }
  bool send(const std::string& bytes) { return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()); }
  // What comes until the server closes the connection, `until` stands in it, or so many seconds are over.
  std::string receive(double seconds = 10, const std::string& until = {}) {
    std::string all;
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    char part[4096];
    while (std::chrono::steady_clock::now() < end) {
      if (!until.empty() && all.find(until) != std::string::npos) break;
      pollfd one{fd_, POLLIN, 0};
      if (poll(&one, 1, 20) <= 0) continue;
      const ssize_t got = recv(fd_, part, sizeof part, 0);
      closed = got <= 0;
      if (closed) break;
      all.append(part, static_cast<size_t>(got));
    }
    return all;
  }
  bool closed = false;             // by the server, as receive() has seen

 private:
  int fd_;
};

}  // namespace ds
