#include "tools/launch/plan.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "engine/cores.h"
#include "engine/cuda/devices.h"
#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr int kTorchPort = 29500, kMostNodes = 1 << 16, kMostRanks = 4096;

int bounded(const char* flag, const std::string& text, int low, int high) {
  const auto n = parse_integer(text);
  if (!n || *n < low || *n > high) fail(Exit::usage, "{}: found {}, expected a whole number from {} to {}", flag, shown(text), low, high);
  return int(*n);
}

// torchrun takes MIN:MAX for a number of hosts that may change; the same number twice is one that does not.
int nodes_of(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == text.npos) return bounded("--nnodes", text, 1, kMostNodes);
  const int low = bounded("--nnodes", text.substr(0, colon), 1, kMostNodes),
            high = bounded("--nnodes", text.substr(colon + 1), 1, kMostNodes);
  if (low != high) fail(Exit::usage, "--nnodes: found {}, expected one number: the hosts of a run do not change", shown(text));
  return low;
}

int ranks_of(const std::string& text, const Machine& machine) {
  std::string why;
  if (text == "gpu") {
    const int gpus = machine.gpus(why);
    if (gpus == 0) fail(Exit::device, "--nproc-per-node: found gpu, expected a number or cpu: {}", why);
    return gpus;
  }
  if (text == "cpu") return machine.cores;
  if (text == "auto") {
    const int gpus = machine.gpus(why);
    return gpus > 0 ? gpus : machine.cores;
  }
  if (const auto n = parse_integer(text); n && *n >= 1 && *n <= kMostRanks) return int(*n);
  fail(Exit::usage, "--nproc-per-node: found {}, expected a whole number from 1 to {}, gpu, cpu or auto", shown(text), kMostRanks);
}

// HOST, HOST:PORT or [IPv6]:PORT of --rdzv-endpoint, which is another way to say --master-addr and --master-port.
void add_endpoint(LaunchFlags& f) {
  if (f.endpoint.empty()) return;
  const size_t bracket = f.endpoint.rfind(']'), colon = f.endpoint.rfind(':');
  const bool one_colon = colon != f.endpoint.npos && f.endpoint.find(':') == colon;
  const bool has_port = bracket == f.endpoint.npos ? one_colon : colon != f.endpoint.npos && colon > bracket;
  const std::string host = has_port ? f.endpoint.substr(0, colon) : f.endpoint;
  if (host.empty()) fail(Exit::usage, "--rdzv-endpoint: found {}, expected HOST or HOST:PORT", shown(f.endpoint));
  if (!f.master.empty() && f.master != host)
    fail(Exit::usage, "--rdzv-endpoint: found {}, expected --master-addr's {} or only one of the two", shown(f.endpoint), shown(f.master));
  f.master = host;
  if (!has_port) return;
  const int port = bounded("--rdzv-endpoint: port", f.endpoint.substr(colon + 1), 0, 65535);
  if (f.port && *f.port != port)
    fail(Exit::usage, "--rdzv-endpoint: found port {}, expected --master-port's {} or only one of the two", port, *f.port);
  f.port = port;
}

std::optional<int> number_in(const Environment& environment, const char* name, int high) {
  const auto text = environment(name);
  if (!text || text->empty()) return {};
  return bounded(name, *text, 0, high);
}

// Hosts, this one's number and where the first listens.
void place_node(const LaunchFlags& f, const Environment& environment, LaunchPlan& plan) {
  if (f.nodes) plan.nodes = nodes_of(*f.nodes);
  if (f.standalone && plan.nodes > 1) fail(Exit::usage, "--standalone: found --nnodes {}, expected one host", plan.nodes);
  const bool alone = f.standalone || (f.nodes && plan.nodes == 1);
  const Place started = alone ? Place{} : find_place(environment);
  if (started.size > 1 && started.local_size > 1)
    fail(Exit::usage, "found {} launchers on this host, started by {}, expected one on each host; or start 'stflow train' itself that way",
         started.local_size, started.launcher);
  if (!f.nodes && started.size > 1) plan.nodes = started.size;
  const bool told = started.size > 1 && started.size == plan.nodes;
  if (f.node) plan.node = int(*f.node);
  else if (told) plan.node = started.rank;
  else if (plan.nodes > 1) {
    const auto index = number_in(environment, "JOB_COMPLETION_INDEX", kMostNodes);  // of a Kubernetes Job
    if (!index) fail(Exit::usage, "--node-rank: not given, expected this host's number, 0 to {}", plan.nodes - 1);
    plan.node = *index;
  }
  if (plan.node >= plan.nodes) fail(Exit::usage, "--node-rank: found {}, expected less than --nnodes, which is {}", plan.node, plan.nodes);
  if (!f.master.empty()) plan.master = f.master;
  else if (told) plan.master = started.master;
  else if (plan.nodes > 1) fail(Exit::usage, "--master-addr: not given, expected the name or address of host 0 of {}", plan.nodes);
  plan.port = int(f.port.value_or(plan.nodes == 1 ? 0 : told ? started.port : kTorchPort));
  if (plan.nodes > 1 && plan.port == 0) fail(Exit::usage, "--master-port: found 0, expected a port for {} hosts to meet at", plan.nodes);
}

int count_gpus(std::string& why) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) fail(Exit::internal, "pipe: {}", std::strerror(errno));
  const pid_t child = ::fork();
  if (child < 0) fail(Exit::memory, "fork: {}", std::strerror(errno));
  if (child == 0) {
    std::string reason;
    size_t n = 0;
    try {
      n = cuda_devices(reason).size();
    } catch (const Error& e) {
      reason = e.what();
    }
    const std::string answer = std::to_string(n) + " " + reason;
    ::_exit(::write(ends[1], answer.data(), answer.size()) == ssize_t(answer.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  constexpr auto kPatience = std::chrono::seconds(60);  // a driver that starts may take its time, a broken one for ever
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::string answer;
  for (ssize_t got = 1; got > 0;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd wait{ends[0], POLLIN, 0};
    if (left <= 0 || ::poll(&wait, 1, int(left)) == 0) break;
    std::array<char, 512> bytes{};
    got = ::read(ends[0], bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) got = 1;
    else if (got > 0) answer.append(bytes.data(), size_t(got));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  const size_t blank = answer.find(' ');
  why = blank == answer.npos ? "the CUDA driver gives no answer" : answer.substr(blank + 1);
  return blank == answer.npos ? 0 : int(parse_integer(answer.substr(0, blank)).value_or(0));
}

}  // namespace

Machine this_machine() { return {available_cores(), count_gpus}; }

LaunchPlan plan_launch(const LaunchFlags& flags, const Environment& environment, const Machine& machine) {
  LaunchFlags f = flags;
  add_endpoint(f);
  LaunchPlan plan;
  place_node(f, environment, plan);
  plan.ranks = ranks_of(f.ranks, machine);
  plan.threads = f.threads > 0 ? f.threads : std::max(1, machine.cores / plan.ranks);
  plan.restarts_before = number_in(environment, "SLURM_RESTART_COUNT", 1 << 20).value_or(0);  // of a job that was queued again
  plan.max_restarts = int(f.max_restarts);
  plan.grace = f.grace;
  plan.stflow = f.stflow;
  plan.run_id = f.run_id;
  plan.log_dir = f.log_dir;
  plan.shown.assign(size_t(plan.ranks), f.shown.empty());
  for (const std::string& word : f.shown) plan.shown[size_t(bounded("--local-ranks-filter", word, 0, plan.ranks - 1))] = true;
  plan.command = f.command;
  return plan;
}

std::vector<std::string> worker_environment(const LaunchPlan& plan, int local_rank, int port, int restart,
                                            const std::vector<std::string>& inherited) {
  const std::string rank = std::to_string(plan.rank(local_rank)), size = std::to_string(plan.size());
  const std::vector<std::pair<std::string, std::string>> own = {
      {"RANK", rank},
      {"ROLE_RANK", rank},
      {"LOCAL_RANK", std::to_string(local_rank)},
      {"GROUP_RANK", std::to_string(plan.node)},
      {"WORLD_SIZE", size},
      {"ROLE_WORLD_SIZE", size},
      {"LOCAL_WORLD_SIZE", std::to_string(plan.ranks)},
      {"GROUP_WORLD_SIZE", std::to_string(plan.nodes)},
      {"ROLE_NAME", "default"},
      {"MASTER_ADDR", plan.master},
      {"MASTER_PORT", std::to_string(port)},
      {"TORCHELASTIC_RESTART_COUNT", std::to_string(plan.restarts_before + restart)},
      {"TORCHELASTIC_MAX_RESTARTS", std::to_string(plan.max_restarts)},
      {"TORCHELASTIC_RUN_ID", plan.run_id},
      {"STFLOW_THREADS", std::to_string(plan.threads)},
  };
  const auto is = [](const std::string& entry, const std::string& name) {
    return entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name);
  };
  std::vector<std::string> all;
  for (const std::string& entry : inherited)
    if (std::none_of(own.begin(), own.end(), [&](const auto& v) { return is(entry, v.first); })) all.push_back(entry);
  for (const auto& [name, value] : own) all.push_back(fmt::format("{}={}", name, value));
  if (std::none_of(inherited.begin(), inherited.end(), [&](const std::string& entry) { return is(entry, "OMP_NUM_THREADS"); }))
    all.push_back("OMP_NUM_THREADS=" + std::to_string(plan.threads));
  return all;
}

bool port_is_free(int port) {
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0) return false;
  const int on = 1;  // what a connection of an earlier run left in TIME_WAIT is in nobody's way
  (void)::setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(uint16_t(port));
  any.sin_addr.s_addr = htonl(INADDR_ANY);
  const bool free = ::bind(s, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0 && ::listen(s, 1) == 0;
  ::close(s);
  return free;
}

int free_port() {
  // By pid: launchers that start together look in different places.
  constexpr int kFirst = 10000, kMany = 20000;
  static int tried = 0;
  for (int i = 0; i < kMany; i++) {
    const int port = kFirst + int((int64_t(::getpid()) * 7 + tried++) % kMany);
    if (port_is_free(port)) return port;
  }
  fail(Exit::device, "no port from {} to {} is free on this host, expected one to listen on", kFirst, kFirst + kMany - 1);
}

}  // namespace stflow
