// What `stflow launch` starts: the flags and the environment of the launcher, worked out to numbers, and the environment that each
// worker gets from them. torchrun's names and meanings, so that a program that runs under one runs under the other.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/distributed/place.h"

namespace stflow {

/// The flags as typed.
struct LaunchFlags {
  std::optional<std::string> nodes;
  std::string ranks = "1", master, endpoint, backend = "static", run_id = "none", log_dir;
  std::optional<int64_t> node, port;
  int64_t max_restarts = 0;
  double grace = 30;
  bool standalone = false, stflow = true;
  int threads = 0;  // of a worker; 0: its share of the cores
  std::vector<std::string> shown, command;
};

struct LaunchPlan {
  int nodes = 1, node = 0, ranks = 1;  // hosts, which of them this is, workers on it
  std::string master = "127.0.0.1";
  int port = 0;     // 0: a free one, chosen anew at each start
  int threads = 1;  // CPU threads of a worker
  int restarts_before = 0, max_restarts = 0;
  double grace = 30;  // seconds from SIGTERM to SIGKILL
  bool stflow = true;
  std::string run_id, log_dir;
  std::vector<bool> shown;           // by local rank
  std::vector<std::string> command;  // of stflow, or any program

  [[nodiscard]] int size() const { return nodes * ranks; }
  [[nodiscard]] int rank(int local_rank) const { return node * ranks + local_rank; }
};

/// The machine that the launcher runs on.
struct Machine {
  int cores = 1;
  /// GPUs that the driver shows; 0 with the reason.
  std::function<int(std::string& why_none)> gpus;
};
/// This machine. GPUs are counted in a child process: the launcher itself holds no memory of any.
Machine this_machine();

/// Flags first; then, where Slurm, MPI or Kubernetes started one launcher on each of several hosts, what their variables say.
/// Throws Exit::usage for what contradicts itself or is not enough, Exit::device for --nproc-per-node gpu without a GPU.
LaunchPlan plan_launch(const LaunchFlags& flags, const Environment& environment, const Machine& machine);

/// "NAME=value" for one worker: `inherited` with torchrun's variables in place of those of the same names, and with STFLOW_THREADS and,
/// where it is not set, OMP_NUM_THREADS, so that the workers of a host share its cores.
std::vector<std::string> worker_environment(const LaunchPlan& plan, int local_rank, int port, int restart,
                                            const std::vector<std::string>& inherited);

/// A TCP port of this host that nobody listens on, below those that the system gives to outgoing connections.
/// Throws Exit::device when there is none.
int free_port();
/// True when a server on this host could listen on it now.
bool port_is_free(int port);

}  // namespace stflow
