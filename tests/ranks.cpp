#include "tests/ranks.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "engine/distributed/sockets.h"

namespace stflow::test {

int free_port() { return port_of(listen_on("127.0.0.1", 0)); }

Ranks::Ranks(int size, const std::function<std::vector<std::string>(int)>& words,
             const std::function<std::vector<std::string>(int)>& environment, int present)
    : port_(free_port()) {
  for (int r = 0; r < (present < 0 ? size : present); r++) {
    std::vector<std::string> all = environment ? environment(r) : std::vector<std::string>();
    const std::string rank = std::to_string(r), ranks = std::to_string(size);
    for (const std::string& e : {"RANK=" + rank, "LOCAL_RANK=" + rank, "WORLD_SIZE=" + ranks, "LOCAL_WORLD_SIZE=" + ranks,
                                 std::string("GROUP_RANK=0"), std::string("MASTER_ADDR=127.0.0.1"), "MASTER_PORT=" + std::to_string(port_)})
      all.push_back(e);  // what a test asks for comes first, and holds
    const std::string file = folder_.path() + "/" + rank;
    processes_.push_back(start_stflow(words(r), all, file + ".out", file + ".err"));
  }
}

Ranks::~Ranks() {
  for (const pid_t p : processes_)
    if (p > 0) ::kill(p, SIGKILL), ::waitpid(p, nullptr, 0);
}

void Ranks::signal(int rank, int number) const { REQUIRE(::kill(process(rank), number) == 0); }

Ran Ranks::ended(int rank, double seconds) {
  pid_t& p = processes_[size_t(rank)];
  const auto end = after(seconds);
  int status = 0;
  pid_t got = 0;
  while ((got = ::waitpid(p, &status, WNOHANG)) == 0 && Clock::now() < end) ::usleep(2000);
  if (got == 0) {
    ::kill(p, SIGKILL);
    ::waitpid(p, &status, 0);
  }
  p = -1;
  const std::string file = folder_.path() + "/" + std::to_string(rank);
  const int code = got == 0 ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {code, read_file(file + ".out"), read_file(file + ".err")};
}

std::vector<Ran> Ranks::all_ended(double seconds) {
  std::vector<Ran> all;
  for (size_t r = 0; r < processes_.size(); r++) all.push_back(ended(int(r), seconds));
  return all;
}

std::vector<Ran> run_ranks(int size, const std::vector<std::string>& words, const std::vector<std::string>& environment) {
  Ranks ranks(
      size, [&](int) { return words; }, [&](int) { return environment; });
  return ranks.all_ended();
}

}  // namespace stflow::test
