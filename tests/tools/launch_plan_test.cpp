// What `stflow launch` makes of its flags and of the environment that it was started in.
#include "tools/launch/plan.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "tests/files.h"

using namespace stflow;
using Map = std::map<std::string, std::string>;

namespace {

LaunchPlan plan(const LaunchFlags& flags, const Map& variables = {}, int cores = 8, int gpus = 0) {
  const auto environment = [&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return {};
    return found->second;
  };
  return plan_launch(flags, environment, {cores, [=](std::string& why) { return why = "none here", gpus; }});
}

template <class Set> LaunchFlags flags(Set set) {
  LaunchFlags f;
  f.command = {"train"};
  set(f);
  return f;
}

template <class Set> void refuses(Set set, const std::string& line, const Map& variables = {}, Exit code = Exit::usage) {
  test::refuses(code, line, "", [&] { (void)plan(flags(set), variables); });
}

const Map kStep{{"SLURM_PROCID", "1"},
                {"SLURM_LOCALID", "0"},
                {"SLURM_NODEID", "1"},
                {"SLURM_STEP_NUM_TASKS", "2"},
                {"SLURM_STEP_ID", "0"},
                {"SLURM_JOB_ID", "7"},
                {"SLURM_TASKS_PER_NODE", "1(x2)"},
                {"SLURM_JOB_NODELIST", "n[3-4]"}};

}  // namespace

TEST_CASE("launch plan: one host by default, its cores shared") {
  const LaunchPlan p = plan(flags([](LaunchFlags& f) { f.ranks = "3"; }));
  CHECK(p.nodes == 1);
  CHECK(p.size() == 3);
  CHECK(p.threads == 2);
  CHECK(p.port == 0);
  CHECK(p.master == "127.0.0.1");
  CHECK(plan(flags([](LaunchFlags& f) { f.ranks = "16"; })).threads == 1);
  CHECK(plan(flags([](LaunchFlags& f) { f.ranks = "4", f.threads = 5; })).threads == 5);
}

TEST_CASE("launch plan: --nproc-per-node gpu, cpu and auto") {
  const auto ranks = [](const char* word, int gpus) { return plan(flags([&](LaunchFlags& f) { f.ranks = word; }), {}, 6, gpus).ranks; };
  CHECK(ranks("cpu", 4) == 6);
  CHECK(ranks("gpu", 4) == 4);
  CHECK(ranks("auto", 4) == 4);
  CHECK(ranks("auto", 0) == 6);
  refuses([](LaunchFlags& f) { f.ranks = "gpu"; }, "--nproc-per-node: found gpu, expected a number or cpu: none here", {}, Exit::device);
}

TEST_CASE("launch plan: several hosts by flags") {
  const LaunchPlan p = plan(flags([](LaunchFlags& f) { f.nodes = "2", f.node = 1, f.ranks = "4", f.master = "a"; }));
  CHECK(p.size() == 8);
  CHECK(p.rank(3) == 7);
  CHECK(p.port == 29500);
  const LaunchPlan q = plan(flags([](LaunchFlags& f) { f.nodes = "2:2", f.node = 0, f.endpoint = "[fe80::1]:77"; }));
  CHECK(q.master == "[fe80::1]");
  CHECK(q.port == 77);
  CHECK(plan(flags([](LaunchFlags& f) { f.nodes = "2", f.node = 0, f.endpoint = "b"; })).master == "b");
}

TEST_CASE("launch plan: several hosts by Slurm, by Kubernetes, by a job that was queued again") {
  const LaunchPlan p = plan(flags([](LaunchFlags& f) { f.ranks = "2"; }), kStep);
  CHECK(p.nodes == 2);
  CHECK(p.node == 1);
  CHECK(p.size() == 4);
  CHECK(p.master == "n3");
  CHECK(p.port == 10007);
  CHECK(plan(flags([](LaunchFlags& f) { f.standalone = true; }), kStep).nodes == 1);
  CHECK(plan(flags([](LaunchFlags& f) { f.nodes = "1"; }), kStep).nodes == 1);
  const LaunchPlan pod = plan(flags([](LaunchFlags& f) { f.nodes = "3", f.master = "job-0.job"; }), {{"JOB_COMPLETION_INDEX", "2"}});
  CHECK(pod.node == 2);
  CHECK(pod.master == "job-0.job");
  CHECK(pod.port == 29500);
  CHECK(plan(flags([](LaunchFlags&) {}), {{"SLURM_RESTART_COUNT", "2"}}).restarts_before == 2);
}

TEST_CASE("launch plan: a worker's environment is torchrun's, in place of what was there") {
  LaunchPlan p = plan(flags([](LaunchFlags& f) { f.nodes = "2", f.node = 1, f.ranks = "2", f.master = "a", f.max_restarts = 3; }));
  p.restarts_before = 1;
  const std::vector<std::string> all = worker_environment(p, 1, 1234, 2, {"PATH=/bin", "RANK=9", "RANKS=9", "STFLOW_THREADS=9"});
  const std::vector<std::string> want = {"PATH=/bin",
                                         "RANKS=9",
                                         "RANK=3",
                                         "ROLE_RANK=3",
                                         "LOCAL_RANK=1",
                                         "GROUP_RANK=1",
                                         "WORLD_SIZE=4",
                                         "ROLE_WORLD_SIZE=4",
                                         "LOCAL_WORLD_SIZE=2",
                                         "GROUP_WORLD_SIZE=2",
                                         "ROLE_NAME=default",
                                         "MASTER_ADDR=a",
                                         "MASTER_PORT=1234",
                                         "TORCHELASTIC_RESTART_COUNT=3",
                                         "TORCHELASTIC_MAX_RESTARTS=3",
                                         "TORCHELASTIC_RUN_ID=none",
                                         "STFLOW_THREADS=4",
                                         "OMP_NUM_THREADS=4"};
  CHECK(all == want);
  const std::vector<std::string> kept = worker_environment(p, 1, 1234, 2, {"OMP_NUM_THREADS=7"});
  CHECK(kept[0] == "OMP_NUM_THREADS=7");
  CHECK(std::count(kept.begin(), kept.end(), "OMP_NUM_THREADS=4") == 0);
  Map variables;
  for (const std::string& entry : all) variables[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  const Place place = find_place([&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return {};
    return found->second;
  });
  CHECK(place.launcher == "torchrun");
  CHECK(place.rank == 3);
  CHECK(place.restart == 3);
}

TEST_CASE("launch plan: a free port is one that nobody listens on") {
  const int port = free_port();
  CHECK(port >= 10000);
  CHECK(port < 30000);
  CHECK(port_is_free(port));
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(s, reinterpret_cast<const sockaddr*>(&here), sizeof here) == 0);
  REQUIRE(::listen(s, 1) == 0);
  socklen_t size = sizeof here;
  REQUIRE(::getsockname(s, reinterpret_cast<sockaddr*>(&here), &size) == 0);
  CHECK_FALSE(port_is_free(ntohs(here.sin_port)));
  ::close(s);
  CHECK(port_is_free(ntohs(here.sin_port)));
}

TEST_CASE("bad input: launch plan: what contradicts itself or is not enough is named") {
  refuses([](LaunchFlags& f) { f.ranks = "many"; },
          "--nproc-per-node: found 'many', expected a whole number from 1 to 4096, gpu, cpu or auto");
  refuses([](LaunchFlags& f) { f.nodes = "1:4"; }, "--nnodes: found '1:4', expected one number: the hosts of a run do not change");
  refuses([](LaunchFlags& f) { f.nodes = "0"; }, "--nnodes: found '0', expected a whole number from 1 to 65536");
  refuses([](LaunchFlags& f) { f.nodes = "2", f.standalone = true; }, "--standalone: found --nnodes 2, expected one host");
  refuses([](LaunchFlags& f) { f.nodes = "2", f.master = "a"; }, "--node-rank: not given, expected this host's number, 0 to 1");
  refuses([](LaunchFlags& f) { f.nodes = "2", f.node = 2, f.master = "a"; },
          "--node-rank: found 2, expected less than --nnodes, which is 2");
  refuses([](LaunchFlags& f) { f.nodes = "2", f.node = 0; }, "--master-addr: not given, expected the name or address of host 0 of 2");
  refuses([](LaunchFlags& f) { f.nodes = "2", f.node = 0, f.master = "a", f.port = 0; },
          "--master-port: found 0, expected a port for 2 hosts to meet at");
  refuses([](LaunchFlags& f) { f.endpoint = ":80"; }, "--rdzv-endpoint: found ':80', expected HOST or HOST:PORT");
  refuses([](LaunchFlags& f) { f.endpoint = "a:http"; }, "--rdzv-endpoint: port: found 'http', expected a whole number from 0 to 65535");
  refuses([](LaunchFlags& f) { f.endpoint = "a:1", f.master = "b"; },
          "--rdzv-endpoint: found 'a:1', expected --master-addr's 'b' or only one of the two");
  refuses([](LaunchFlags& f) { f.endpoint = "a:1", f.port = 2; },
          "--rdzv-endpoint: found port 1, expected --master-port's 2 or only one of the two");
  refuses([](LaunchFlags& f) { f.shown = {"0", "1"}; }, "--local-ranks-filter: found '1', expected a whole number from 0 to 0");
  refuses([](LaunchFlags& f) { f.nodes = "2", f.master = "a"; }, "JOB_COMPLETION_INDEX: found 'x', expected a whole number from 0 to 65536",
          {{"JOB_COMPLETION_INDEX", "x"}});
  Map two = kStep;
  two["SLURM_TASKS_PER_NODE"] = "2";
  two["SLURM_NODEID"] = "0";
  refuses([](LaunchFlags&) {},
          "found 2 launchers on this host, started by Slurm, expected one on each host; or start 'stflow train' itself that way", two);
}
