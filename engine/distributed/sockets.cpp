#include "engine/distributed/sockets.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace stflow {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses addresses_of(const std::string& host, int port, std::string& why) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) why = gai_strerror(error), found = nullptr;
  return {found, freeaddrinfo};
}

void set(const Socket& s, int level, int option, int value) { (void)setsockopt(s.fd(), level, option, &value, sizeof value); }

bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

int milliseconds_to(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return int(std::max<int64_t>(0, std::min<int64_t>(left, 1000000)));
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Socket listen_on(const std::string& host, int port) {
  // One socket for both families where the kernel has IPv6; the loopback alone is asked for by address.
  const bool local = is_loopback(host);
  const bool v4 = local && host != "::1";
  Socket s(::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const bool only_v4 = v4 || (!s && errno == EAFNOSUPPORT);
  if (only_v4 && !v4) s = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!s) return s;
  set(s, SOL_SOCKET, SO_REUSEADDR, 1);
  int failed = 0;
  if (only_v4) {
    sockaddr_in a{};
    a.sin_family = AF_INET, a.sin_port = htons(uint16_t(port)), a.sin_addr.s_addr = htonl(local ? INADDR_LOOPBACK : INADDR_ANY);
    failed = ::bind(s.fd(), reinterpret_cast<const sockaddr*>(&a), sizeof a);
  } else {
    set(s, IPPROTO_IPV6, IPV6_V6ONLY, local ? 1 : 0);
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6, a.sin6_port = htons(uint16_t(port)), a.sin6_addr = local ? in6addr_loopback : in6addr_any;
    failed = ::bind(s.fd(), reinterpret_cast<const sockaddr*>(&a), sizeof a);
  }
  if (failed != 0 || ::listen(s.fd(), 1024) != 0) return Socket();
  return s;
}

int port_of(const Socket& s) {
  sockaddr_storage a{};
  socklen_t size = sizeof a;
  if (getsockname(s.fd(), reinterpret_cast<sockaddr*>(&a), &size) != 0) return 0;
  return ntohs(a.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&a)->sin6_port : reinterpret_cast<sockaddr_in*>(&a)->sin_port);
}

Socket connect_to(const std::string& host, int port, Clock::time_point deadline, std::string& why) {
  const Addresses all = addresses_of(host, port, why);
  for (const addrinfo* a = all.get(); a; a = a->ai_next) {
    Socket s(::socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!s) continue;
    int error = ::connect(s.fd(), a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      pollfd p{s.fd(), POLLOUT, 0};
      socklen_t size = sizeof error;
      if (::poll(&p, 1, std::min(milliseconds_to(deadline), 5000)) != 1) error = ETIMEDOUT;
      else if (getsockopt(s.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    }
    if (error == 0) {
      (void)fcntl(s.fd(), F_SETFL, fcntl(s.fd(), F_GETFL) & ~O_NONBLOCK);
      watch_connection(s);
      return s;
    }
    why = std::strerror(error);
  }
  return Socket();
}

void watch_connection(const Socket& s) {
  set(s, IPPROTO_TCP, TCP_NODELAY, 1);
  set(s, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(s, IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(s, IPPROTO_TCP, TCP_KEEPINTVL, 2);
  set(s, IPPROTO_TCP, TCP_KEEPCNT, 5);
  set(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 15000);
}

std::string own_address(const Socket& s) {
  sockaddr_storage a{};
  socklen_t size = sizeof a;
  char text[NI_MAXHOST] = "";
  if (getsockname(s.fd(), reinterpret_cast<sockaddr*>(&a), &size) != 0) return "";
  if (getnameinfo(reinterpret_cast<sockaddr*>(&a), size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) return "";
  const std::string address = text;
  return address.starts_with("::ffff:") ? address.substr(7) : address;  // an IPv4 address on a socket for both
}

bool send_all(const Socket& s, const std::string& bytes) {
  const auto deadline = after(10);
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::send(s.fd(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) at += size_t(n);
    else if (n < 0 && errno == EINTR) continue;
    else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      pollfd p{s.fd(), POLLOUT, 0};
      if (::poll(&p, 1, milliseconds_to(deadline)) == 0) return false;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace stflow
