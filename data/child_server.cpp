// The child process that stays: questions and answers go through two pipes, each with its length before it.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <new>
#include <utility>

#include "data/child.h"
#include "engine/error.h"

namespace stflow {
namespace {

using Clock = std::chrono::steady_clock;

enum Kind : uint64_t { kAnswer = 0, kError = 1, kMemory = 2 };

/// Before each message: what it is (for an error its code in the upper half) and how long.
struct Head {
  uint64_t kind = 0, bytes = 0;
};

bool write_all(int fd, const void* data, size_t n) {
  const auto* p = static_cast<const char*>(data);
  while (n > 0) {
    const ssize_t some = ::write(fd, p, n);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) return false;
    p += some, n -= size_t(some);
  }
  return true;
}

enum class Got : uint8_t { whole, closed, late };

Got read_all(int fd, void* data, size_t n, Clock::time_point end) {
  auto* p = static_cast<char*>(data);
  while (n > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd wait{fd, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&wait, 1, int(std::min<int64_t>(left, 1'000'000))) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return Got::late;
    const ssize_t some = ::read(fd, p, n);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) return Got::closed;
    p += some, n -= size_t(some);
  }
  return Got::whole;
}

bool send(int fd, uint64_t kind, const std::string& text) {
  const Head head{kind, text.size()};
  return write_all(fd, &head, sizeof head) && write_all(fd, text.data(), text.size());
}

uint64_t address_space() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * uint64_t(::sysconf(_SC_PAGESIZE));
}

[[noreturn]] void serve(int in, int out, const ChildLimits& limits, const std::function<ChildServer::Answer()>& start) {
  for (int s : {SIGINT, SIGTERM, SIGUSR1, SIGSEGV, SIGABRT, SIGBUS, SIGFPE})
    std::signal(s, s == SIGINT || s == SIGTERM ? SIG_IGN : SIG_DFL);
  if (int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) ::dup2(nowhere, STDOUT_FILENO), ::dup2(nowhere, STDERR_FILENO);
  const rlimit none{0, 0}, most{rlim_t(address_space() + uint64_t(limits.bytes)), rlim_t(address_space() + uint64_t(limits.bytes))};
  ::setrlimit(RLIMIT_CORE, &none);
  ::setrlimit(RLIMIT_AS, &most);
  const auto never = Clock::now() + std::chrono::hours(24 * 365);
  ChildServer::Answer answer;
  for (Head head; read_all(in, &head, sizeof head, never) == Got::whole;) {
    std::string question(head.bytes, '\0'), reply;
    if (read_all(in, question.data(), question.size(), never) != Got::whole) break;
    uint64_t kind = kAnswer;
    try {
      if (!answer) answer = start();
      reply = answer(question);
    } catch (const Error& e) {
      kind = kError | uint64_t(int(e.code())) << 32, reply = e.what();
    } catch (const std::bad_alloc&) {
      kind = kMemory;
    }
    if (!send(out, kind, reply)) break;
  }
  ::_exit(0);
}

}  // namespace

ChildServer::ChildServer(std::string file, std::string kind, const ChildLimits& limits, const std::function<Answer()>& start)
    : file_(std::move(file)), kind_(std::move(kind)), limits_(limits) {
  std::array<int, 2> down{}, up{};
  if (::pipe2(down.data(), O_CLOEXEC) != 0) fail(Exit::memory, "{}: no pipe for its reader: {}", file_, std::strerror(errno));
  if (::pipe2(up.data(), O_CLOEXEC) != 0) {
    ::close(down[0]), ::close(down[1]);
    fail(Exit::memory, "{}: no pipe for its reader: {}", file_, std::strerror(errno));
  }
  {
    const std::lock_guard<std::mutex> hold(fork_lock());
    child_ = ::fork();
  }
  if (child_ == 0) {
    ::close(down[1]), ::close(up[0]);
    serve(down[0], up[1], limits_, start);
  }
  ::close(down[0]), ::close(up[1]);
  to_ = down[1], from_ = up[0];
  if (child_ < 0) {
    ::close(to_), ::close(from_);
    fail(Exit::memory, "{}: no process for its reader: {}", file_, std::strerror(errno));
  }
}

ChildServer::~ChildServer() {
  ::close(to_), ::close(from_);
  if (child_ < 0) return;
  // Another child may hold the other end of its pipe, so closing ours is not enough.
  ::kill(child_, SIGKILL);
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {}
}

void ChildServer::refuse(const std::string& found) {
  if (child_ >= 0) {
    int status = 0;
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {}
    child_ = -1;
    broken_ = found.empty() ? WIFSIGNALED(status) ? fmt::format("crashed (signal {})", WTERMSIG(status)) : std::string("ended") : found;
  }
  fail(Exit::data, "{}: the reader {}, expected a readable {} file", file_, broken_, kind_);
}

std::string ChildServer::ask(const std::string& question) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (child_ < 0) refuse("");
  if (!send(to_, 0, question)) refuse("");
  const auto end = Clock::now() + std::chrono::seconds(limits_.seconds);
  const std::string late = fmt::format("needed more than {} s", limits_.seconds),
                    much = fmt::format("needed more than {} bytes", limits_.bytes);
  auto take = [&](void* to, size_t n) {
    const Got got = read_all(from_, to, n, end);
    if (got != Got::whole) refuse(got == Got::late ? late : "");
  };
  Head head;
  take(&head, sizeof head);
  if (head.kind == kMemory || head.bytes > uint64_t(limits_.bytes)) refuse(much);
  std::string answer(head.bytes, '\0');
  take(answer.data(), answer.size());
  if ((head.kind & 0xffffffff) == kError) throw Error(Exit(int(head.kind >> 32)), answer);
  return answer;
}

}  // namespace stflow
