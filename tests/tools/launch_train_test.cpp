// stflow train under the launchers: stflow launch, mpirun, and the environments of Slurm and Kubernetes; the bytes of one process, also
// after kills.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/random.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"
#include "tools/launch/plan.h"

using namespace stflow;
using test::results;
using test::TinyRun;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

Words run_of(const TinyRun& data, const std::string& run, const Words& more = {}) {
  Words w = data.words(run, {"--batch-size", "5", "--epochs", "20", "--members", "1", "--save-every", "1"});
  w.insert(w.end(), more.begin(), more.end());
  return w;
}

Words launched(const Words& flags, const Words& command) {
  Words all{"launch"};
  all.insert(all.end(), flags.begin(), flags.end());
  all.emplace_back("--");
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

std::string joined(const Words& words) {
  std::string text;
  for (const std::string& w : words) text += " " + w;
  return text;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

double uniform(uint32_t i, uint32_t j) {
  const Philox4 r = RandomKey(11, Stream::item, i, j).draw(0);
  return open01(r.v[0], r.v[1]);
}

std::vector<pid_t> children(pid_t process) {
  std::istringstream text(test::read_file("/proc/" + std::to_string(process) + "/task/" + std::to_string(process) + "/children"));
  std::vector<pid_t> all;
  for (pid_t child = 0; text >> child;) all.push_back(child);
  return all;
}

bool ended_already(pid_t process) { return has(test::read_file("/proc/" + std::to_string(process) + "/status"), "State:\tZ"); }

// Words that start the command in a shell for each r of 0 and 1 and give the worst exit code; $r in `environment`.
test::Ran run_two(const std::string& environment, const Words& command) {
  return test::run_shell("for r in 0 1; do env " + environment + " \"$STFLOW\"" + joined(command) +
                         " & pids=\"$pids $!\"; done; code=0; for p in $pids; do wait $p || code=$?; done; exit $code");
}

}  // namespace

TEST_CASE("slow: launch train: several processes give the bytes of one, and one JSON object") {
  const TinyRun data;
  REQUIRE(test::run_stflow(run_of(data, "one")).code == 0);
  for (const char* size : {"2", "3"}) {
    const test::Ran r = test::run_stflow(launched({"--nproc-per-node", size}, run_of(data, size, {"--json"})));
    CHECK_MESSAGE(r.code == 0, r.err);
    CHECK(nlohmann::json::accept(r.out));
    CHECK(results(data.path(size)) == results(data.path("one")));
  }
}

TEST_CASE("slow: launch train: kill -9 of any rank at any time, restarts, and the bytes of an undisturbed run") {
  const TinyRun data;
  const double whole = test::seconds_of([&] { REQUIRE(test::run_stflow(run_of(data, "one")).code == 0); });
  int kills = 0;
  for (uint32_t i = 0; i < 4; i++) {
    const std::string run = "run" + std::to_string(i);
    const int size = 2 + int(i % 2);
    const pid_t launcher = test::start_stflow(
        launched({"--nproc-per-node", std::to_string(size), "--max-restarts", "3", "--grace", "5"}, run_of(data, run, {"--threads", "1"})));
    for (uint32_t k = 0; k < 3; k++) {
      usleep(useconds_t(1e6 * (0.05 + whole * 1.5 * uniform(i, k))));
      if (ended_already(launcher)) break;
      const std::vector<pid_t> workers = children(launcher);
      if (workers.empty()) continue;
      kills += kill(workers[size_t(uniform(i, k + 100) * double(workers.size()))], SIGKILL) == 0;
    }
    CHECK(test::ended(launcher) == 0);
    CHECK(results(data.path(run)) == results(data.path("one")));
  }
  CHECK(kills >= 4);  // guards the test
}

TEST_CASE("slow: launch train: a stop signal leaves a checkpoint and 75; another start with --resume ends as an undisturbed run") {
  const TinyRun data;
  const Words long_run{"--epochs", "150"};
  REQUIRE(test::run_stflow(run_of(data, "one", long_run)).code == 0);
  const pid_t launcher = test::start_stflow(launched({"--nproc-per-node", "2", "--max-restarts", "3"}, run_of(data, "run", long_run)));
  for (int i = 0; i < 20000 && !test::has_checkpoint(data.path("run")); i++) usleep(1000);
  for (const pid_t worker : children(launcher)) kill(worker, SIGUSR1);  // a scheduler tells every process of a job, so each hears it twice
  kill(launcher, SIGUSR1);
  CHECK(test::ended(launcher) == 75);
  REQUIRE(!fs::exists(data.path("run/model.safetensors")));
  const test::Ran r = test::run_stflow(launched({"--nproc-per-node", "3"}, run_of(data, "run", {"--epochs", "150", "--resume"})));
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(results(data.path("run")) == results(data.path("one")));
}

TEST_CASE("slow: launch train: a stopped rank is named by its peers, and the run goes on without help") {
  const TinyRun data;
  const Words long_run{"--epochs", "150", "--collective-timeout", "1"};
  REQUIRE(test::run_stflow(run_of(data, "one", long_run)).code == 0);
  const std::string log = data.path("log");
  const pid_t launcher = test::start_stflow(
      launched({"--nproc-per-node", "2", "--max-restarts", "1", "--grace", "1", "--log-dir", log}, run_of(data, "run", long_run)));
  for (int i = 0; i < 20000 && !test::has_checkpoint(data.path("run")); i++) usleep(1000);
  const std::vector<pid_t> workers = children(launcher);
  REQUIRE(workers.size() == 2);
  kill(workers[1], SIGSTOP);
  CHECK(test::ended(launcher) == 0);
  CHECK(has(test::read_file(log + "/attempt_0/0/stderr.log"), "rank 1 "));
  CHECK(results(data.path("run")) == results(data.path("one")));
}

TEST_CASE("launch train: started again, a run that is finished stays as it is, and one without a checkpoint begins anew") {
  const TinyRun data;
  const Words again = run_of(data, "run", {"--json"});
  const auto restarted = [&](const Words& words) {
    return test::run_stflow(words, {"TORCHELASTIC_RESTART_COUNT=1", "RANK=0", "WORLD_SIZE=1"});
  };
  fs::create_directories(data.path("run/checkpoints"));
  CHECK(test::run_stflow(again).code == 73);
  const test::Ran first = restarted(again);
  CHECK_MESSAGE(first.code == 0, first.err);
  const auto want = results(data.path("run"));
  const test::Ran second = restarted(again);
  CHECK(second.code == 0);
  CHECK(second.out == first.out);
  CHECK(results(data.path("run")) == want);
  CHECK(test::run_stflow(again).code == 73);
}

TEST_CASE("launch train: started again with --overwrite it continues or keeps its own run, and replaces one of another job") {
  const TinyRun data;
  const auto started = [&](const char* restart, const char* job, const Words& more) {
    Words words = run_of(data, "run", {"--json", "--overwrite"});
    words.insert(words.end(), more.begin(), more.end());
    return test::run_stflow(
        words, {std::string("TORCHELASTIC_RESTART_COUNT=") + restart, std::string("SLURM_JOB_ID=") + job, "RANK=0", "WORLD_SIZE=1"});
  };
  REQUIRE(test::run_stflow(run_of(data, "one")).code == 0);
  const auto want = results(data.path("one"));
  const pid_t killed = test::start_stflow(run_of(data, "run", {"--epochs", "100000"}), {"SLURM_JOB_ID=1", "RANK=0", "WORLD_SIZE=1"});
  for (int i = 0; i < 20000 && !test::has_checkpoint(data.path("run")); i++) usleep(1000);
  kill(killed, SIGKILL);
  CHECK(test::ended(killed) == 128 + SIGKILL);
  // Its own, unfinished: continued, which other flags show.
  const test::Ran own = started("1", "1", {"--lr", "0.01"});
  CHECK(own.code != 0);
  CHECK_MESSAGE(has(own.err, "resume with the flags of the first run"), own.err);
  CHECK(test::has_checkpoint(data.path("run")));
  // Another job's: a start that failed before it could replace it is no reason to continue it.
  const test::Ran replaced = started("1", "2", {});
  CHECK_MESSAGE(replaced.code == 0, replaced.err);
  CHECK(results(data.path("run")) == want);
  CHECK(!fs::exists(data.path("run/job")));
  // Its own, finished: kept, with its times and all; another job's: replaced.
  CHECK(started("2", "2", {}).out == replaced.out);
  const test::Ran again = started("1", "3", {});
  CHECK_MESSAGE(again.code == 0, again.err);
  CHECK(again.out != replaced.out);
  CHECK(results(data.path("run")) == want);
}

TEST_CASE("slow: launch train: the variables of Slurm and Kubernetes, of ranks and of launchers on two hosts") {
  const TinyRun data;
  REQUIRE(test::run_stflow(run_of(data, "one")).code == 0);
  const std::string job = std::to_string(getpid());
  const std::string step = "SLURM_JOB_ID=" + job + " SLURM_STEP_ID=0 SLURM_PROCID=$r SLURM_STEP_NUM_TASKS=2 ";
  const auto good = [&](const char* run, const test::Ran& r) {
    CHECK_MESSAGE(r.code == 0, r.err);
    CHECK(results(data.path(run)) == results(data.path("one")));
  };
  good("srun", run_two(step + "SLURM_LOCALID=$r SLURM_NODEID=0 SLURM_NNODES=1", run_of(data, "srun")));
  // Two hosts whose names are both this one's: 127.0.0.1 and 127.0.0.2.
  const std::string hosts = "SLURM_LOCALID=0 SLURM_NODEID=$r SLURM_NNODES=2 SLURM_TASKS_PER_NODE='1(x2)' SLURM_STEP_NODELIST=127.0.0.[1-2]";
  good("nodes", run_two(step + hosts, launched({"--nproc-per-node", "2"}, run_of(data, "nodes"))));
  const std::string port = std::to_string(free_port());
  good("pods", run_two("JOB_COMPLETION_INDEX=$r",
                       launched({"--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", port, "--nproc-per-node", "1"},
                                run_of(data, "pods"))));
}

TEST_CASE("slow: launch train: mpirun") {
  if (test::run_shell("command -v mpirun").code != 0) {
    MESSAGE("not tested here: no mpirun");
    return;
  }
  const TinyRun data;
  REQUIRE(test::run_stflow(run_of(data, "one")).code == 0);
  const test::Ran r =
      test::run_shell("mpirun --allow-run-as-root --oversubscribe -np 2 \"$STFLOW\"" + joined(run_of(data, "mpi", {"--json"})));
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(nlohmann::json::accept(r.out));
  CHECK(results(data.path("mpi")) == results(data.path("one")));
}
