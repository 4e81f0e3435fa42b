// Which of several processes this one is, as the program that started them says in the environment.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace stflow {

/// One process among `size`. The defaults are a process of its own.
struct Place {
  int rank = 0, size = 1;              // in the whole job
  int local_rank = 0, local_size = 1;  // on this host
  int node = 0;                        // number of this host, for messages
  std::string master;                  // host name or address where rank 0 listens; "" for a single process
  int port = 0;                        // TCP port there
  std::string launcher;                // "torchrun", "environment", "Open MPI", ..., "Slurm"; "" for a single process
  int restart = 0;                     // how often the launcher has started this job again
};

/// The value of an environment variable; nothing when it is not set.
using Environment = std::function<std::optional<std::string>(const char* name)>;

/// The environment of this process.
std::optional<std::string> from_environment(const char* name);

/// The place that these variables give, an empty one counting as not set. The first that applies:
/// torchrun (RANK, LOCAL_RANK, GROUP_RANK, LOCAL_WORLD_SIZE); RANK and WORLD_SIZE set by hand; Open MPI, MVAPICH, jsrun, PALS,
/// MPICH and Intel MPI, PMIx; a Slurm job step, but not the allocation or batch script around it, whose SLURM_* variables a
/// single process sees as well. Under MPI and Slurm MASTER_ADDR and MASTER_PORT go first; without them one host means 127.0.0.1,
/// several hosts the first of Slurm's node list, and the port follows from the job's number: the same in all ranks, another in
/// the next job. MPI without a number for its job (MPICH) takes that of the parent process, `parent`; 0 is getppid().
/// Throws Exit::usage naming the variable, what it holds and what is expected.
Place find_place(const Environment& environment = from_environment, int parent = 0);

/// The first host of a Slurm node list: "n[01-03,7],m2" -> "n01". Throws Exit::usage for what is no such list.
std::string first_host(std::string_view nodes);

}  // namespace stflow
