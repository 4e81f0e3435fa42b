#include "engine/distributed/place.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr int kMostRanks = 1 << 20;

// What an MPI calls its variables, all of which are needed, and how one hands a variable to its ranks.
struct Family {
  const char *name, *rank, *size, *local_rank, *local_size, *pass;
};
constexpr Family kFamilies[] = {
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
     "mpirun -x MASTER_ADDR=HOST"},
    {"MVAPICH", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE",
     "MASTER_ADDR=HOST before the program"},
    {"jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_LOCAL_SIZE",
     "jsrun -E MASTER_ADDR=HOST"},
    {"PALS", "PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID", "PMI_LOCAL_SIZE", "mpiexec --env MASTER_ADDR=HOST"},
    {"MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "mpiexec -genv MASTER_ADDR HOST"},
    {"PMIx", "PMIX_RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR=HOST in the environment"},
};
// Numbers of a job of one of these.
constexpr const char* kJobs[] = {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PALS_APID", "PMI_JOBID"};

// Slurm gives the shell of an allocation and a batch script step numbers too, from this one up.
constexpr int64_t kSlurmSpecialStep = 0xfffffff0;

// Below the ports that systems give out by themselves (32768 and up), above those of well-known services.
int port_of(uint64_t job) { return int(10000 + job % 20000); }

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

class Variables {
 public:
  explicit Variables(const Environment& get) : get_(get) {}

  [[nodiscard]] std::optional<std::string> text(const char* name) const {
    auto value = get_(name);
    if (value && value->empty()) value.reset();
    return value;
  }
  [[nodiscard]] bool has(const char* name) const { return text(name).has_value(); }

  [[nodiscard]] std::optional<int64_t> whole(const char* name, int64_t low, int64_t high) const {
    const auto value = text(name);
    if (!value) return {};
    const auto n = parse_integer(*value);
    if (!n || *n < low || *n > high)
      fail(Exit::usage, "{}: found {}, expected a whole number from {} to {}", name, shown(*value), low, high);
    return n;
  }
  [[nodiscard]] std::optional<int> rank(const char* name) const { return whole(name, 0, kMostRanks - 1); }
  [[nodiscard]] std::optional<int> size(const char* name) const { return whole(name, 1, kMostRanks); }
  // A variable that must be there because `beside` is.
  [[nodiscard]] int rank(const char* name, const char* beside) const { return needed(rank(name), name, beside); }
  [[nodiscard]] int size(const char* name, const char* beside) const { return needed(size(name), name, beside); }

 private:
  static int needed(std::optional<int> value, const char* name, const char* beside) {
    if (!value) fail(Exit::usage, "{}: not set, expected it beside {}", name, beside);
    return *value;
  }
  const Environment& get_;
};

void below(const char* name, int value, const char* limit_name, int limit) {
  if (value >= limit) fail(Exit::usage, "{}: found {}, expected less than {}, which is {}", name, value, limit_name, limit);
}

// The number of the host when ranks fill one host after the other, as launchers do unless told otherwise.
int block_node(const Place& p) { return (p.rank - p.local_rank) / p.local_size; }

// Each number with the name of its variable.
void check_order(const Place& p, const char* rank, const char* size, const char* local_rank, const char* local_size) {
  below(rank, p.rank, size, p.size);
  below(local_rank, p.local_rank, local_size, p.local_size);
  if (p.local_size > p.size) fail(Exit::usage, "{}: found {}, expected at most {}, which is {}", local_size, p.local_size, size, p.size);
}

// MASTER_ADDR and MASTER_PORT where they are set.
void read_master(const Variables& v, Place& p) {
  if (const auto host = v.text("MASTER_ADDR")) p.master = *host;
  p.port = int(v.whole("MASTER_PORT", 1, 65535).value_or(p.port));
}

// torchrun's variables, or RANK and WORLD_SIZE by hand (and by Kubernetes' PyTorchJob): then each process is alone on its host
// unless LOCAL_RANK says more.
Place from_torchrun(const Variables& v) {
  Place p;
  const bool torchrun = v.has("GROUP_RANK") && v.has("LOCAL_RANK") && v.has("LOCAL_WORLD_SIZE");
  p.launcher = torchrun ? "torchrun" : "environment";
  p.rank = v.rank("RANK", "WORLD_SIZE"), p.size = v.size("WORLD_SIZE", "RANK");
  if (v.has("LOCAL_RANK") || v.has("LOCAL_WORLD_SIZE")) {
    p.local_rank = v.rank("LOCAL_RANK", "LOCAL_WORLD_SIZE");
    p.local_size = v.size("LOCAL_WORLD_SIZE", "LOCAL_RANK");
  }
  check_order(p, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE");
  p.node = v.rank("GROUP_RANK").value_or(block_node(p));
  p.restart = int(v.whole("TORCHELASTIC_RESTART_COUNT", 0, 1 << 30).value_or(0));
  read_master(v, p);
  // torchrun itself listens at MASTER_PORT then, for workers that share its store: ours takes the next.
  if (v.text("TORCHELASTIC_USE_AGENT_STORE") == "True" && p.port > 0) p.port += p.port < 65535 ? 1 : -1;
  if (p.size > 1)
    for (const char* name : {"MASTER_ADDR", "MASTER_PORT"})
      if (!v.has(name)) fail(Exit::usage, "{}: not set, expected where rank 0 of {} listens", name, p.size);
  return p;
}

// WORLD_SIZE is not part of MPI or Slurm; where a batch script exports it, it has to agree.
void check_world_size(const Variables& v, const Place& p, const char* size) {
  const auto world = v.size("WORLD_SIZE");
  if (world && *world != p.size) fail(Exit::usage, "WORLD_SIZE: found {}, expected what {} is, {}", *world, size, p.size);
}

Place from_mpi(const Variables& v, const Family& f, int parent) {
  Place p;
  p.launcher = f.name;
  p.rank = v.rank(f.rank, f.name), p.size = v.size(f.size, f.rank);
  p.local_rank = v.rank(f.local_rank, f.rank), p.local_size = v.size(f.local_size, f.rank);
  check_order(p, f.rank, f.size, f.local_rank, f.local_size);
  check_world_size(v, p, f.size);
  p.node = v.rank("PALS_NODEID").value_or(block_node(p));
  if (p.size == 1) return p;
  std::optional<std::string> job;
  for (const char* name : kJobs)
    if (!job) job = v.text(name);
  p.port = port_of(job ? fnv1a(*job) : uint64_t(parent > 0 ? parent : getppid()));
  if (p.local_size == p.size) p.master = "127.0.0.1";
  read_master(v, p);
  if (p.master.empty())
    fail(Exit::usage, "MASTER_ADDR: not set, expected the host of rank 0, for {} runs {} ranks on several hosts; pass {}", f.name, p.size,
         f.pass);
  // Several hosts may name one job in different ways.
  if (p.local_size < p.size && !job && !v.has("MASTER_PORT"))
    fail(Exit::usage, "MASTER_PORT: not set, expected a free port of {}, for {} gives its job no number", p.master, p.launcher);
  return p;
}

// Ranks on this host: entry `node` of "4(x2),3".
std::optional<int> tasks_on(const Variables& v, const char* name, int node) {
  const auto list = v.text(name);
  if (!list) return {};
  std::string_view rest = *list;
  while (!rest.empty()) {
    std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
    int64_t times = 1;
    if (const size_t at = item.find("(x"); at != item.npos && item.ends_with(')')) {
      times = parse_integer(item.substr(at + 2, item.size() - at - 3)).value_or(0);
      item = item.substr(0, at);
    }
    const auto tasks = parse_integer(item);
    if (!tasks || *tasks < 1 || *tasks > kMostRanks || times < 1) break;
    if (node < times) return int(*tasks);
    node -= int(std::min<int64_t>(times, kMostRanks));
  }
  fail(Exit::usage, "{}: found {}, expected tasks for each node, like 4(x2),3", name, shown(*list));
}

bool in_slurm_step(const Variables& v) {
  if (!v.has("SLURM_PROCID")) return false;
  const char* name = v.has("SLURM_STEP_ID") ? "SLURM_STEP_ID" : "SLURM_STEPID";
  const auto step = v.whole(name, 0, 0xffffffff);
  return step && *step < kSlurmSpecialStep;
}

Place from_slurm(const Variables& v) {
  Place p;
  p.launcher = "Slurm";
  const auto first = [&](auto... names) {
    const char* found = nullptr;
    ((found = found ? found : v.has(names) ? names : nullptr), ...);
    return found;
  };
  const char* size = first("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS");
  if (!size) size = "SLURM_NTASKS";
  p.rank = v.rank("SLURM_PROCID", "SLURM_STEP_ID");
  p.size = v.size(size, "SLURM_PROCID");
  p.local_rank = v.rank("SLURM_LOCALID", "SLURM_PROCID");
  p.node = v.rank("SLURM_NODEID").value_or(0);
  const char* hosts = first("SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES");
  const char* each = first("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE");
  const bool one_host = hosts && v.size(hosts) == 1;
  if (one_host) p.local_size = p.size;
  else if (each) p.local_size = *tasks_on(v, each, p.node);
  else p.local_size = v.size("SLURM_NTASKS_PER_NODE", "SLURM_PROCID");
  check_order(p, "SLURM_PROCID", size, "SLURM_LOCALID", each ? each : "SLURM_NTASKS_PER_NODE");
  check_world_size(v, p, size);
  p.restart = int(v.whole("SLURM_RESTART_COUNT", 0, 1 << 30).value_or(0));
  if (p.size == 1) return p;
  const auto job = v.whole("SLURM_JOB_ID", 0, INT64_MAX), step = v.whole("SLURM_STEP_ID", 0, INT64_MAX);
  if (!job && !v.has("MASTER_PORT")) fail(Exit::usage, "SLURM_JOB_ID: not set, expected it beside SLURM_PROCID");
  p.port = port_of(uint64_t(job.value_or(0)) + 7919 * uint64_t(step.value_or(0)));
  const char* nodes = first("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST");
  if (p.local_size == p.size) p.master = "127.0.0.1";
  else if (nodes && !v.has("MASTER_ADDR")) p.master = first_host(*v.text(nodes));
  read_master(v, p);
  if (p.master.empty()) fail(Exit::usage, "SLURM_STEP_NODELIST: not set, expected it or MASTER_ADDR for ranks on several hosts");
  return p;
}

}  // namespace

std::optional<std::string> from_environment(const char* name) {
  const char* value = std::getenv(name);
  if (!value) return {};
  return value;
}

std::string first_host(std::string_view nodes) {
  const auto refuse = [&] { fail(Exit::usage, "node list: found {}, expected host names like n[01-03,7],m2", shown(nodes)); };
  std::string host;
  for (size_t i = 0; i < nodes.size() && nodes[i] != ','; i++) {
    if (nodes[i] == ']') refuse();
    if (nodes[i] != '[') {
      host += nodes[i];
      continue;
    }
    const size_t end = nodes.find(']', i);
    if (end == nodes.npos) refuse();
    const std::string_view list = nodes.substr(i + 1, end - i - 1), number = list.substr(0, list.find_first_not_of("0123456789"));
    if (number.empty() || list.find_first_not_of("0123456789,-") != list.npos) refuse();
    host += number;
    i = end;
  }
  if (host.empty()) refuse();
  return host;
}

Place find_place(const Environment& environment, int parent) {
  const Variables v(environment);
  if (v.has("RANK") && (v.has("WORLD_SIZE") || v.has("GROUP_RANK"))) return from_torchrun(v);
  const Family* incomplete = nullptr;
  for (const Family& f : kFamilies) {
    if (!v.has(f.rank)) continue;
    if (v.has(f.size) && v.has(f.local_rank) && v.has(f.local_size)) return from_mpi(v, f, parent);
    if (!incomplete) incomplete = &f;
  }
  // srun --mpi=pmi2 or pmix sets a part of MPI's variables, and all of its own.
  if (in_slurm_step(v)) return from_slurm(v);
  if (incomplete && v.size(incomplete->size) != 1) return from_mpi(v, *incomplete, parent);  // says what is missing
  if (v.has("RANK"))
    fail(Exit::usage, "RANK: found {} without WORLD_SIZE, expected both or neither; unset RANK for a process of its own", *v.text("RANK"));
  return {};
}

}  // namespace stflow
