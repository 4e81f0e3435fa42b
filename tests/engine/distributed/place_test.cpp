// The place of a process among others, from the variables that each launcher sets.
#include "engine/distributed/place.h"

#include <doctest/doctest.h>

#include <map>

#include "tests/files.h"

using namespace stflow;
using Map = std::map<std::string, std::string>;

namespace {

Place place(const Map& variables, int parent = 777) {
  return find_place(
      [&](const char* name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return {};
        return found->second;
      },
      parent);
}

Map with(Map base, const Map& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

Map without(Map base, const std::string& name) {
  base.erase(name);
  return base;
}

void refuses(const Map& variables, const std::string& line) {
  test::refuses(Exit::usage, line, "", [&] { (void)place(variables); });
}

// "rank of size, local rank of local size, node, master:port"
std::string text(const Place& p) {
  return fmt::format("{}: {} of {}, {} of {}, node {}, {}:{}", p.launcher, p.rank, p.size, p.local_rank, p.local_size, p.node, p.master,
                     p.port);
}

const Map kTorchrun{{"RANK", "5"},        {"WORLD_SIZE", "8"},       {"LOCAL_RANK", "1"},      {"LOCAL_WORLD_SIZE", "4"},
                    {"GROUP_RANK", "1"},  {"MASTER_ADDR", "node-a"}, {"MASTER_PORT", "29511"}, {"TORCHELASTIC_RESTART_COUNT", "2"},
                    {"ROLE_NAME", "none"}};
const Map kOpenMpi{{"OMPI_COMM_WORLD_RANK", "1"},       {"OMPI_COMM_WORLD_SIZE", "2"},      {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"OMPI_COMM_WORLD_NODE_RANK", "1"}, {"PMIX_RANK", "1"},
                   {"PMIX_NAMESPACE", "993656833"}};
const Map kMpich{{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "3"}, {"MPI_LOCALNRANKS", "4"}};
const Map kSlurm{{"SLURM_PROCID", "5"},
                 {"SLURM_LOCALID", "1"},
                 {"SLURM_NODEID", "2"},
                 {"SLURM_NTASKS", "7"},
                 {"SLURM_STEP_NUM_TASKS", "7"},
                 {"SLURM_STEP_ID", "0"},
                 {"SLURM_JOB_ID", "4711"},
                 {"SLURM_NNODES", "3"},
                 {"SLURM_TASKS_PER_NODE", "2(x2),3"},
                 {"SLURM_STEP_NODELIST", "gpu[03-04,7]"},
                 {"SLURM_JOB_NODELIST", "gpu[01-09]"}};

}  // namespace

TEST_CASE("place: nothing in the environment is a process of its own") {
  const Place p = place({});
  CHECK(text(p) == ": 0 of 1, 0 of 1, node 0, :0");
  CHECK(p.restart == 0);
  CHECK(text(place({{"RANK", ""}, {"MASTER_ADDR", "x"}, {"LOCAL_RANK", "0"}})) == ": 0 of 1, 0 of 1, node 0, :0");
}

TEST_CASE("place: torchrun goes before MPI, MPI before Slurm") {
  const Place p = place(kTorchrun);
  CHECK(text(p) == "torchrun: 5 of 8, 1 of 4, node 1, node-a:29511");
  CHECK(p.restart == 2);
  CHECK(text(place(with(with(kSlurm, kOpenMpi), kTorchrun))) == text(p));
  CHECK(place(with(kSlurm, kOpenMpi)).launcher == "Open MPI");
  CHECK(place(kSlurm).launcher == "Slurm");
}

TEST_CASE("place: RANK and WORLD_SIZE by hand, as Kubernetes' PyTorchJob sets them") {
  const Map pod{{"RANK", "1"}, {"WORLD_SIZE", "3"}, {"MASTER_ADDR", "job-master-0"}, {"MASTER_PORT", "23456"}};
  CHECK(text(place(pod)) == "environment: 1 of 3, 0 of 1, node 1, job-master-0:23456");
  CHECK(text(place(with(pod, {{"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}}))) ==
        "environment: 1 of 3, 1 of 2, node 0, job-master-0:23456");
  CHECK(place({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).size == 1);  // needs no master
}

TEST_CASE("place: Open MPI on one host meets at a port that belongs to the job") {
  const Place one = place(kOpenMpi), other = place(with(kOpenMpi, {{"PMIX_NAMESPACE", "993656834"}}));
  CHECK(one.launcher == "Open MPI");
  CHECK(one.rank == 1);
  CHECK(one.master == "127.0.0.1");
  CHECK(one.port >= 10000);
  CHECK(one.port < 30000);
  CHECK(one.port != other.port);
  const Map first = with(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}, {"PMIX_RANK", "0"}});
  CHECK(place(first, 778).port == one.port);
  CHECK(text(place(with(kOpenMpi, {{"MASTER_ADDR", "ib0"}, {"MASTER_PORT", "7"}}))) == "Open MPI: 1 of 2, 1 of 2, node 0, ib0:7");
}

TEST_CASE("place: Open MPI on several hosts") {
  const Map more = with(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "5"}, {"OMPI_COMM_WORLD_SIZE", "6"}});
  refuses(more,
          "MASTER_ADDR: not set, expected the host of rank 0, for Open MPI runs 6 ranks on several hosts; pass mpirun -x MASTER_ADDR=HOST");
  const Place p = place(with(more, {{"MASTER_ADDR", "node-a"}}));
  CHECK(p.node == 2);
  CHECK(p.master == "node-a");
  CHECK(p.port == place(kOpenMpi).port);
}

TEST_CASE("place: MPICH, Intel MPI, MVAPICH, jsrun and PALS") {
  CHECK(place(kMpich).launcher == "MPICH");
  CHECK(place(kMpich).port == place(without(kMpich, "x")).port);
  CHECK(place(kMpich, 1001).port != place(kMpich, 1002).port);  // mpiexec's process is all that names the job
  const Map spread = with(kMpich, {{"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}, {"MASTER_ADDR", "a"}});
  refuses(spread, "MASTER_PORT: not set, expected a free port of a, for MPICH gives its job no number");
  CHECK(text(place(with(spread, {{"MASTER_PORT", "9"}}))) == "MPICH: 3 of 4, 1 of 2, node 1, a:9");
  CHECK(place(with(spread, {{"PMI_JOBID", "k1"}})).port >= 10000);
  CHECK(place({{"MV2_COMM_WORLD_RANK", "0"},
               {"MV2_COMM_WORLD_SIZE", "2"},
               {"MV2_COMM_WORLD_LOCAL_RANK", "0"},
               {"MV2_COMM_WORLD_LOCAL_SIZE", "2"}})
            .launcher == "MVAPICH");
  CHECK(
      place(
          {{"JSM_NAMESPACE_RANK", "0"}, {"JSM_NAMESPACE_SIZE", "2"}, {"JSM_NAMESPACE_LOCAL_RANK", "0"}, {"JSM_NAMESPACE_LOCAL_SIZE", "2"}})
          .launcher == "jsrun");
  const Place pals = place({{"PALS_RANKID", "9"},
                            {"PALS_LOCAL_RANKID", "1"},
                            {"PALS_NODEID", "2"},
                            {"PALS_APID", "aa-bb"},
                            {"PMI_RANK", "9"},
                            {"PMI_SIZE", "12"},
                            {"PMI_LOCAL_SIZE", "4"},
                            {"MASTER_ADDR", "x1"}});
  CHECK(pals.launcher == "PALS");
  CHECK(pals.node == 2);
  CHECK(pals.local_size == 4);
}

TEST_CASE("place: PMIx alone does not say how many there are") {
  refuses({{"PMIX_RANK", "1"}, {"PMIX_NAMESPACE", "n"}}, "WORLD_SIZE: not set, expected it beside PMIX_RANK");
  CHECK(place({{"PMIX_RANK", "1"}, {"PMIX_NAMESPACE", "n"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}}).rank ==
        1);
}

TEST_CASE("place: a Slurm step meets on its first node, at a port that belongs to the job and the step") {
  const Place p = place(kSlurm);
  CHECK(text(p) == "Slurm: 5 of 7, 1 of 3, node 2, gpu03:14711");
  CHECK(place(with(kSlurm, {{"SLURM_NODEID", "1"}})).local_size == 2);
  CHECK(place(with(kSlurm, {{"SLURM_JOB_ID", "4712"}})).port == 14712);
  CHECK(place(with(kSlurm, {{"SLURM_STEP_ID", "1"}})).port != 14711);
  CHECK(place(with(kSlurm, {{"SLURM_RESTART_COUNT", "2"}})).restart == 2);
  CHECK(place(with(kSlurm, {{"MASTER_ADDR", "m"}, {"MASTER_PORT", "5"}})).master == "m");
  CHECK(place(without(kSlurm, "SLURM_STEP_NODELIST")).master == "gpu01");
  const Place here = place(with(kSlurm, {{"SLURM_NNODES", "1"}, {"SLURM_NODEID", "0"}, {"SLURM_LOCALID", "5"}}));
  CHECK(here.master == "127.0.0.1");
  CHECK(here.local_size == 7);
  const Map counted = without(with(kSlurm, {{"SLURM_NTASKS_PER_NODE", "4"}}), "SLURM_TASKS_PER_NODE");
  CHECK(place(counted).local_size == 4);
}

TEST_CASE("place: a Slurm allocation or batch script around a single process makes it no rank") {
  const Map salloc{{"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "4711"}, {"SLURM_NNODES", "2"}, {"SLURM_JOB_NODELIST", "n[1-2]"}};
  CHECK(place(salloc).size == 1);
  const Map sbatch = with(salloc, {{"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}, {"SLURM_NODEID", "0"}});
  CHECK(place(sbatch).size == 1);
  for (const char* shell : {"4294967290", "4294967291", "4294967295"}) CHECK(place(with(sbatch, {{"SLURM_STEP_ID", shell}})).size == 1);
  CHECK(place(with(sbatch, {{"SLURM_STEPID", "0"}, {"SLURM_TASKS_PER_NODE", "4(x2)"}})).size == 8);
  CHECK(place(with(sbatch, {{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_TASKS_PER_NODE", "1"}})).size == 1);
}

TEST_CASE("place: srun with pmi2 or pmix sets a part of MPI's variables: Slurm's count") {
  CHECK(place(with(kSlurm, {{"PMI_RANK", "5"}, {"PMI_SIZE", "7"}})).launcher == "Slurm");
  CHECK(place(with(kSlurm, {{"PMIX_RANK", "5"}, {"PMIX_NAMESPACE", "slurm.pmix.4711.0"}})).launcher == "Slurm");
  CHECK(place({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}).size == 1);
}

TEST_CASE("place: node lists") {
  const std::pair<const char*, const char*> lists[] = {{"n1", "n1"},
                                                       {"n[01-03,7]", "n01"},
                                                       {"n[9,10]-ib,m2", "n9-ib"},
                                                       {"r[1-2]c[0-1]n[007]", "r1c0n007"},
                                                       {"login-a.example.org,n[1-2]", "login-a.example.org"},
                                                       {"10.0.0.[5-6]", "10.0.0.5"}};
  for (const auto& [list, host] : lists) CHECK(first_host(list) == host);
  for (const char* bad : {"", ",n1", "n[1-3", "n]1", "n[]", "n[a-b]", "n[,1]", "n[1-2[3]]"})
    test::refuses(Exit::usage, fmt::format("node list: found '{}', expected host names like n[01-03,7],m2", bad), "",
                  [&] { (void)first_host(bad); });
}

TEST_CASE("bad input: place: a variable that is no number, missing, or contradicts another is named") {
  refuses(with(kTorchrun, {{"RANK", "five"}}), "RANK: found 'five', expected a whole number from 0 to 1048575");
  refuses(with(kTorchrun, {{"WORLD_SIZE", "0"}}), "WORLD_SIZE: found '0', expected a whole number from 1 to 1048576");
  refuses(with(kTorchrun, {{"RANK", "8"}}), "RANK: found 8, expected less than WORLD_SIZE, which is 8");
  refuses(with(kTorchrun, {{"LOCAL_RANK", "4"}}), "LOCAL_RANK: found 4, expected less than LOCAL_WORLD_SIZE, which is 4");
  refuses(with(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}}), "LOCAL_WORLD_SIZE: found 9, expected at most WORLD_SIZE, which is 8");
  refuses(with(kTorchrun, {{"MASTER_PORT", "65536"}}), "MASTER_PORT: found '65536', expected a whole number from 1 to 65535");
  refuses(with(kTorchrun, {{"MASTER_PORT", "http"}}), "MASTER_PORT: found 'http', expected a whole number from 1 to 65535");
  refuses(with(kTorchrun, {{"TORCHELASTIC_RESTART_COUNT", "-1"}}),
          "TORCHELASTIC_RESTART_COUNT: found '-1', expected a whole number from 0 to 1073741824");
  refuses(without(kTorchrun, "WORLD_SIZE"), "WORLD_SIZE: not set, expected it beside RANK");
  refuses(without(kTorchrun, "MASTER_ADDR"), "MASTER_ADDR: not set, expected where rank 0 of 8 listens");
  refuses(without(kTorchrun, "MASTER_PORT"), "MASTER_PORT: not set, expected where rank 0 of 8 listens");
  refuses({{"RANK", "3"}}, "RANK: found 3 without WORLD_SIZE, expected both or neither; unset RANK for a process of its own");
  refuses({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"LOCAL_RANK", "0"}}, "LOCAL_WORLD_SIZE: not set, expected it beside LOCAL_RANK");
  refuses(with(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "2"}}),
          "OMPI_COMM_WORLD_RANK: found 2, expected less than OMPI_COMM_WORLD_SIZE, which is 2");
  refuses(with(kOpenMpi, {{"WORLD_SIZE", "4"}}), "WORLD_SIZE: found 4, expected what OMPI_COMM_WORLD_SIZE is, 2");
  refuses(without(without(kOpenMpi, "OMPI_COMM_WORLD_LOCAL_SIZE"), "PMIX_RANK"),
          "OMPI_COMM_WORLD_LOCAL_SIZE: not set, expected it beside OMPI_COMM_WORLD_RANK");
  refuses(with(kSlurm, {{"SLURM_STEP_NUM_TASKS", "5"}}), "SLURM_PROCID: found 5, expected less than SLURM_STEP_NUM_TASKS, which is 5");
  refuses(without(kSlurm, "SLURM_LOCALID"), "SLURM_LOCALID: not set, expected it beside SLURM_PROCID");
  refuses(without(kSlurm, "SLURM_JOB_ID"), "SLURM_JOB_ID: not set, expected it beside SLURM_PROCID");
  for (const char* bad : {"2(x2)", "2(x", "0", "a,b", "2(x-1),3"})
    refuses(with(kSlurm, {{"SLURM_TASKS_PER_NODE", bad}}),
            fmt::format("SLURM_TASKS_PER_NODE: found '{}', expected tasks for each node, like 4(x2),3", bad));
  refuses(without(without(kSlurm, "SLURM_STEP_NODELIST"), "SLURM_JOB_NODELIST"),
          "SLURM_STEP_NODELIST: not set, expected it or MASTER_ADDR for ranks on several hosts");
  refuses(with(kSlurm, {{"WORLD_SIZE", "8"}}), "WORLD_SIZE: found 8, expected what SLURM_STEP_NUM_TASKS is, 7");
}

TEST_CASE("place: where torchrun itself listens at MASTER_PORT, ranks meet at the next port") {
  CHECK(place(kTorchrun).port == 29511);
  CHECK(place(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}})).port == 29512);
  CHECK(place(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "False"}})).port == 29511);
  CHECK(place(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"MASTER_PORT", "65535"}})).port == 65534);
}
