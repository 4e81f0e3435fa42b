// Several stflow processes of one job, started as a launcher would.
#pragma once
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/run.h"

namespace stflow::test {

/// A TCP port of this host that is free now.
int free_port();

class Ranks {
 public:
  /// Starts `size` ranks of `words(rank)` on a free port; "NAME=value" of `environment(rank)` in addition. `present`: as many as really
  /// start.
  Ranks(int size, const std::function<std::vector<std::string>(int)>& words,
        const std::function<std::vector<std::string>(int)>& environment = {}, int present = -1);
  /// Kills what still runs.
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  [[nodiscard]] pid_t process(int rank) const { return processes_[size_t(rank)]; }
  [[nodiscard]] int port() const { return port_; }
  void signal(int rank, int number) const;
  /// Waits for the rank's end, at most `seconds`: then it is killed and the code is -1.
  Ran ended(int rank, double seconds = 60);
  /// The same of all.
  std::vector<Ran> all_ended(double seconds = 60);

 private:
  Folder folder_;
  int port_;
  std::vector<pid_t> processes_;
};

/// Runs ranks of the same words to their end.
std::vector<Ran> run_ranks(int size, const std::vector<std::string>& words, const std::vector<std::string>& environment = {});

}  // namespace stflow::test
