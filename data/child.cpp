#include "data/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>

#include "engine/error.h"
#include "engine/file.h"

namespace stflow {
namespace {

enum Status : int { kAnswer = 0, kError = 81, kMemory = 82 };  // numbers that no library exits with

bool write_all(int fd, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    ssize_t n = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += size_t(n);
  }
  return true;
}

/// Bytes of address space that this process has now.
uint64_t address_space() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;  // 0 if there is no such file
  return pages * uint64_t(::sysconf(_SC_PAGESIZE));
}

[[noreturn]] void run_child(int fd, const ChildLimits& limits, const std::function<std::string()>& work) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int s : {SIGINT, SIGTERM, SIGUSR1, SIGSEGV, SIGABRT, SIGBUS, SIGFPE}) std::signal(s, SIG_DFL);
  // What a crashing library prints is not for the user, who gets one line.
  if (int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) ::dup2(nowhere, STDOUT_FILENO), ::dup2(nowhere, STDERR_FILENO);
  auto limit = [](auto what, uint64_t value) {
    rlimit r{rlim_t(value), rlim_t(value)};
    ::setrlimit(what, &r);
  };
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, uint64_t(limits.seconds));
  limit(RLIMIT_AS, address_space() + uint64_t(limits.bytes));
  std::string answer;
  Status status = kAnswer;
  try {
    answer = work();
  } catch (const Error& e) {
    status = kError;
    answer = std::to_string(int(e.code())) + " " + e.what();
  } catch (const std::bad_alloc&) {
    status = kMemory;
  }
  if (!write_all(fd, answer)) status = kMemory;
  ::_exit(status);
}

/// Everything the child writes, until it closes the pipe. False when the time or the size is exceeded.
bool read_answer(int fd, const ChildLimits& limits, std::string& answer) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2 * limits.seconds);
  std::string piece(size_t(1) << 16, '\0');
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd p{fd, POLLIN, 0};
    int ready = left > 0 ? ::poll(&p, 1, int(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    ssize_t n = ::read(fd, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n == 0;
    answer.append(piece, 0, size_t(n));
    if (int64_t(answer.size()) > limits.bytes) return false;
  }
}

}  // namespace

ChildRoom::ChildRoom(uint64_t bytes) {
  rlimit r{};
  ::getrlimit(RLIMIT_AS, &r);
  before_ = r.rlim_cur;
  r.rlim_cur = std::min<rlim_t>(r.rlim_cur, address_space() + bytes);
  ::setrlimit(RLIMIT_AS, &r);
}

ChildRoom::~ChildRoom() {
  rlimit r{};
  ::getrlimit(RLIMIT_AS, &r);
  r.rlim_cur = before_;
  ::setrlimit(RLIMIT_AS, &r);
}

std::mutex& fork_lock() {
  static std::mutex lock;
  return lock;
}

std::string in_child_process(const std::string& file, const std::string& kind, const ChildLimits& limits,
                             const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe(ends) != 0) fail(Exit::memory, "{}: no pipe for its reader: {}", file, std::strerror(errno));
  pid_t child = -1;
  {
    const std::lock_guard<std::mutex> hold(fork_lock());
    child = ::fork();
  }
  if (child < 0) {
    ::close(ends[0]), ::close(ends[1]);
    fail(Exit::memory, "{}: no process for its reader: {}", file, std::strerror(errno));
  }
  if (child == 0) {
    ::close(ends[0]);
    run_child(ends[1], limits, work);
  }
  ::close(ends[1]);
  std::string answer;
  bool whole = read_answer(ends[0], limits, answer);
  ::close(ends[0]);
  if (!whole) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  auto refuse = [&](const std::string& found) { fail(Exit::data, "{}: the reader {}, expected a readable {} file", file, found, kind); };
  if (!whole || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU))
    refuse(fmt::format("needed more than {} s or {} bytes", limits.seconds, limits.bytes));
  if (WIFSIGNALED(status)) refuse(fmt::format("crashed (signal {})", WTERMSIG(status)));
  int code = WEXITSTATUS(status);
  if (code == kMemory) refuse(fmt::format("needed more than {} bytes", limits.bytes));
  if (code == kError) {
    const size_t space = std::min(answer.find(' '), answer.size());
    int exit_code = int(Exit::internal);
    std::from_chars(answer.data(), answer.data() + space, exit_code);
    throw Error(Exit(exit_code), answer.substr(std::min(space + 1, answer.size())));
  }
  if (code != kAnswer) refuse(fmt::format("ended with status {}", code));
  return answer;
}

}  // namespace stflow
