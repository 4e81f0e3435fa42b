// TCP connections between ranks: opening, and noticing that the other side is gone.
#pragma once
#include <chrono>
#include <string>

namespace stflow {

using Clock = std::chrono::steady_clock;
/// `seconds` from now.
inline Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

/// The owner of a file descriptor, which no exec inherits.
class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& o) noexcept : fd_(o.fd_) { o.fd_ = -1; }
  Socket& operator=(Socket&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();
  [[nodiscard]] int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

/// Listens on `port` (0: any free one): of this host only when `host` is a name of the loopback, else of every interface. Empty, with
/// errno, if it cannot.
Socket listen_on(const std::string& host, int port);
/// The port that a socket is bound to.
int port_of(const Socket& s);
/// One attempt to connect, at most until `deadline`. Empty, with the reason in `why`, if there is no one.
Socket connect_to(const std::string& host, int port, Clock::time_point deadline, std::string& why);
/// Small messages leave at once; a host that no longer answers is noticed after some 15 seconds, whether or not anything is being sent
/// (a frozen process is not: its host still answers).
void watch_connection(const Socket& s);
/// This side's address of a connection, as text.
std::string own_address(const Socket& s);
/// Sends all, waiting for the other side to take it for 10 s at most. False: the connection is gone.
bool send_all(const Socket& s, const std::string& bytes);

}  // namespace stflow
