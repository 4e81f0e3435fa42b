// stflow launch: several processes that train together, on one host or on each of several.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "engine/error.h"
#include "tools/commands.h"
#include "tools/launch/workers.h"

namespace stflow {
namespace {

// Commands whose processes share the work; several of another would each do all of it, into the same files.
constexpr const char* kShared[] = {"train", "predict", "embed"};

void declare(Options& o, LaunchFlags& f) {
  o.argument("COMMAND", &f.command, "the command to run in each process, with its flags: train ...").rest();
  o.section("Processes");
  o.flag("nproc-per-node", &f.ranks, "processes on this host: a number, gpu (one for each), cpu (one for each core), auto")
      .placeholder("N");
  o.flag("nnodes", &f.nodes, "hosts, on each of which stflow launch runs; what Slurm or MPI says, or 1").placeholder("N");
  o.flag("node-rank", &f.node, "number of this host from 0; what Slurm, MPI or a Kubernetes Job says").at_least(0);
  o.flag("master-addr", &f.master, "name or address of host 0; on one host 127.0.0.1").placeholder("HOST");
  o.flag("master-port", &f.port, "TCP port there; on one host a free one, else 29500").range(0, 65535);
  o.flag("rdzv-endpoint", &f.endpoint, "the two as one word").placeholder("HOST:PORT");
  o.flag("rdzv-backend", &f.backend, "as torchrun's; the meeting place is the same for both").choices({"static", "c10d"});
  o.flag("rdzv-id", &f.run_id, "a name of the run, handed on as TORCHELASTIC_RUN_ID").placeholder("NAME");
  o.flag("standalone", &f.standalone, "one host, whatever the environment says");
  o.flag("stflow", &f.stflow, "COMMAND is one of stflow's; --no-stflow: any program, with torchrun's environment");
  o.section("When one fails");
  o.flag("max-restarts", &f.max_restarts, "how often all start again, from the last checkpoint").range(0, 1'000'000);
  o.flag("grace", &f.grace, "seconds from SIGTERM to SIGKILL").range(0, 86400);
  o.section("Output");
  o.flag("log-dir", &f.log_dir, "also write DIR/attempt_A/RANK/stdout.log and stderr.log").placeholder("DIR");
  o.flag("local-ranks-filter", &f.shown, "show only these processes of this host; all without it").placeholder("0,1,...");
}

void check_command(const LaunchPlan& plan) {
  const std::string& name = plan.command[0];
  if (!plan.stflow || std::find(std::begin(kShared), std::end(kShared), name) != std::end(kShared)) return;
  fail(Exit::usage, "'{}': no command that several processes share, expected train, predict or embed; for any program pass --no-stflow",
       name);
}

// The port where the workers meet. Only the host that will listen can see whether it is free.
int meeting_port(const LaunchPlan& plan) {
  if (plan.port == 0) return free_port();
  if (plan.node == 0 && !port_is_free(plan.port))
    fail(Exit::device, "--master-port: {} is in use on this host, expected a free one{}", plan.port,
         plan.nodes == 1 ? "; without the flag one is found" : "");
  return plan.port;
}

// A stop that came when no worker was left to tell.
bool stopped(SignalQueue& signals) {
  for (int number = signals.next(); number != 0; number = signals.next())
    if (number != SIGCHLD) return true;
  return false;
}

// All that waits. A reader of stdout may take its time, as long as no signal says that nobody waits for it.
void write_all(SignalQueue& signals, Sink& out, Sink& err, bool patient) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  for (Sink* sink : {&err, &out})
    for (sink->write_some(); sink->waiting(); sink->write_some()) {
      pollfd wait[] = {{sink->fd(), POLLOUT, 0}, {signals.fd(), POLLIN, 0}};
      (void)::poll(wait, 2, patient ? -1 : 100);
      if (stopped(signals) || (!patient && std::chrono::steady_clock::now() > deadline)) return;
    }
}

}  // namespace

int launch(const Args& args) {
  LaunchFlags f;
  Options o("launch", "Starts a command in several processes that train together, and starts them again when one fails.",
            "stflow launch --nproc-per-node 8 --max-restarts 3 -- train --data sections/ --save-dir runs/one");
  declare(o, f);
  if (!o.parse(args)) return 0;
  f.threads = o.threads();
  const LaunchPlan plan = plan_launch(f, from_environment, this_machine());
  check_command(plan);
  SignalQueue signals;
  Sink out(STDOUT_FILENO), err(STDERR_FILENO);
  for (int restart = 0;; restart++) {
    const int port = meeting_port(plan);
    terminal::detailed("{} processes on this host, {} in all, {} threads each; they meet at {}:{}", plan.ranks, plan.size(), plan.threads,
                       plan.master, port);
    const Outcome end = run_workers(plan, port, restart, signals, out, err);
    write_all(signals, out, err, !end.stopped);
    if (end.code != 0 && end.again && restart < plan.max_restarts && !stopped(signals)) {
      terminal::warn("{}; starting all {} of this host again, restart {} of {}", end.line, plan.ranks, restart + 1, plan.max_restarts);
      continue;
    }
    if (!end.line.empty()) terminal::error(end.line);
    if (end.code == 0 && out.broken()) fail(Exit::io, "stdout: expected to write what rank 0 gave");
    return end.code;
  }
}

}  // namespace stflow
