// stflow launch as users start it, with shell scripts as workers: what they see, what it shows, and how all of it ends.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "tests/files.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
using test::TempFolder;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

// The words that start `script` in `ranks` shells.
Words words(int ranks, const std::string& script, const Words& flags = {}) {
  Words all{"launch", "--nproc-per-node", std::to_string(ranks), "--no-stflow"};
  all.insert(all.end(), flags.begin(), flags.end());
  for (const char* word : {"--", "/bin/sh", "-c"}) all.emplace_back(word);
  all.push_back(script);
  return all;
}

test::Ran run(int ranks, const std::string& script, const Words& flags = {}) { return test::run_stflow(words(ranks, script, flags)); }

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Waits, a minute at most, until `ready` is true.
template <class Ready> bool soon(Ready ready) {
  for (int i = 0; i < 60000 && !ready(); i++) usleep(1000);
  return ready();
}

// Waits until the file is there with a whole line, and returns the number in it.
int number_in(const std::string& path) {
  REQUIRE(soon([&] { return test::read_file(path).ends_with("\n"); }));
  return std::stoi(test::read_file(path));
}

// Neither there nor a zombie that still waits for init.
bool gone(int pid) {
  const std::string status = test::read_file("/proc/" + std::to_string(pid) + "/status");
  return status.empty() || has(status, "State:\tZ") || has(status, "State:\tX");
}

}  // namespace

TEST_CASE("launch: each worker has torchrun's environment, its share of the cores and nothing on stdin") {
  const TempFolder folder;
  const test::Ran r =
      run(3,
          "cat >&2; echo $RANK $LOCAL_RANK $GROUP_RANK $ROLE_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $ROLE_WORLD_SIZE $MASTER_ADDR "
          "$TORCHELASTIC_RESTART_COUNT $TORCHELASTIC_MAX_RESTARTS $TORCHELASTIC_RUN_ID $STFLOW_THREADS; echo $MASTER_PORT",
          {"--log-dir", folder.path("logs"), "--max-restarts", "2", "--rdzv-id", "mine", "--threads", "5"});
  CHECK_MESSAGE(r.code == 0, r.err);
  std::set<std::string> ports;
  for (int rank = 0; rank < 3; rank++) {
    const auto out = lines(test::read_file(folder.path("logs/attempt_0/" + std::to_string(rank) + "/stdout.log")));
    REQUIRE(out.size() == 2);
    CHECK(out[0] == fmt::format("{0} {0} 0 {0} 3 3 3 127.0.0.1 0 2 mine 5", rank));
    ports.insert(out[1]);
    CHECK(test::read_file(folder.path("logs/attempt_0/" + std::to_string(rank) + "/stderr.log")).empty());
  }
  CHECK(ports.size() == 1);
  CHECK(r.out == "0 0 0 0 3 3 3 127.0.0.1 0 2 mine 5\n" + *ports.begin() + "\n");
}

TEST_CASE("launch: rank 0's stdout is passed on byte for byte, all else is whole lines with the rank before them") {
  const test::Ran r = run(3,
                          "i=0; while [ $i -lt 100 ]; do printf '%0500d' $RANK >&2; printf '%0500d\\n' $RANK >&2; i=$((i+1)); done; "
                          "printf 'out of %s' $RANK; [ $RANK = 2 ] || printf '\\0\\n'");
  CHECK(r.code == 0);
  CHECK(r.out == std::string("out of 0\0\n", 10));
  int count[3] = {};
  int out_of_others = 0;
  for (const std::string& line : lines(r.err)) {
    const size_t rank = size_t(line.substr(0, 7) == "[rank 0" ? 0 : line.substr(0, 7) == "[rank 1" ? 1 : 2);
    const std::string digit = std::to_string(rank);
    if (has(line, "out of")) {
      out_of_others++;
      CHECK(line.starts_with("[rank " + digit + "] out of " + digit));
      continue;
    }
    count[rank]++;
    CHECK(line == "[rank " + digit + "] " + std::string(499, '0') + digit + std::string(499, '0') + digit);
  }
  for (const int n : count) CHECK(n == 100);
  CHECK(out_of_others == 2);
  const test::Ran alone = run(1, "echo result; echo note >&2");
  CHECK(alone.out == "result\n");
  CHECK(alone.err == "note\n");
}

TEST_CASE("launch: a line without an end is shown in pieces, and a reader that is slow gets everything") {
  const test::Ran r = test::run_shell(
      "\"$STFLOW\" launch --nproc-per-node 2 --no-stflow -- sh -c 'head -c 3000000 /dev/zero | tr \"\\0\" x; head -c 100000 /dev/zero | tr "
      "\"\\0\" y >&2' | (sleep 0.3; cat) | wc -c");
  CHECK(r.code == 0);
  CHECK(std::stoll(r.out) == 3000000);
  CHECK(std::count(r.err.begin(), r.err.end(), 'y') == 200000);
  CHECK(std::count(r.err.begin(), r.err.end(), 'x') == 3000000);
  for (const std::string& line : lines(r.err)) CHECK(line.starts_with("[rank "));
}

TEST_CASE("launch: --local-ranks-filter shows some, --log-dir has all") {
  const TempFolder folder;
  const test::Ran r = run(3, "echo line $RANK >&2", {"--local-ranks-filter", "0,2", "--log-dir", folder.path("logs")});
  CHECK(r.code == 0);
  auto shown = lines(r.err);
  std::sort(shown.begin(), shown.end());
  CHECK(shown == Words{"[rank 0] line 0", "[rank 2] line 2"});
  CHECK(test::read_file(folder.path("logs/attempt_0/1/stderr.log")) == "line 1\n");
}

TEST_CASE("launch: the first failure is named, ends the others and gives the exit code") {
  const test::Ran r = run(3, "[ $RANK = 1 ] && exit 7; exec sleep 100", {"--grace", "0.2"});
  CHECK(r.code == 7);
  const auto shown = lines(r.err);
  REQUIRE(shown.size() == 1);
  CHECK(shown[0].starts_with("stflow: error: rank 1 (local rank 1, host "));
  CHECK(shown[0].ends_with(") ended with exit code 7"));
  const test::Ran killed = run(2, "[ $RANK = 0 ] && kill -9 $$; exec sleep 100", {"--grace", "0.2"});
  CHECK(killed.code == 128 + SIGKILL);
  CHECK(has(killed.err, "stflow: error: rank 0 (local rank 0, host "));
  CHECK(has(killed.err, ") was killed by SIGKILL\n"));
}

TEST_CASE("launch: peers have time to speak; what failed by itself goes before 75, that before 76") {
  const std::string codes = "sleep 0.$((RANK * 2)); echo I am $RANK >&2; ";
  const test::Ran r = run(3, codes + "exit $((76 - RANK * 34))", {"--grace", "5"});  // 76, 42, 8
  CHECK(r.code == 42);
  CHECK(has(r.err, "[rank 2] I am 2\n"));
  CHECK(has(r.err, "stflow: error: rank 1 "));
  const test::Ran stopped = run(2, codes + "exit $((76 - RANK))", {"--grace", "5", "--max-restarts", "3"});
  CHECK(stopped.code == 75);
  CHECK(!has(stopped.err, "stflow:"));
  CHECK(run(2, codes + "exit 76", {"--grace", "5"}).code == 76);
}

TEST_CASE("launch: all start again up to --max-restarts, each time at another port") {
  const TempFolder folder;
  const std::string script = "echo $MASTER_PORT >> " + folder.path("ports$RANK") + "; ";
  const test::Ran r = run(2, script + "[ $TORCHELASTIC_RESTART_COUNT = 2 ] || { [ $RANK = 1 ] && exit 9; exec sleep 100; }",
                          {"--max-restarts", "3", "--grace", "0.1", "--log-dir", folder.path("logs")});
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(has(r.err, "stflow: warning: rank 1 (local rank 1, host "));
  CHECK(has(r.err, ") ended with exit code 9; starting all 2 of this host again, restart 2 of 3\n"));
  CHECK(fs::exists(folder.path("logs/attempt_2/1/stdout.log")));
  const auto ports = lines(test::read_file(folder.path("ports1")));
  CHECK(std::set<std::string>(ports.begin(), ports.end()).size() == 3);
  const test::Ran never = run(1, "exit 9", {"--max-restarts", "2"});
  CHECK(never.code == 9);
  CHECK(lines(never.err).size() == 3);
}

TEST_CASE("launch: a signal goes on to all workers, which end with 75, and nothing starts again") {
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    const TempFolder folder;
    const std::string script = "trap 'echo saved > " + folder.path("saved$RANK") + "; exit 75' TERM INT; echo $$ > " +
                               folder.path("pid$RANK") + "; while :; do sleep 0.05; done";
    const pid_t launcher = test::start_stflow(words(2, script, {"--max-restarts", "5"}));
    for (const char* rank : {"0", "1"}) CHECK(number_in(folder.path("pid") + rank) > 0);
    kill(launcher, number);
    CHECK(test::ended(launcher) == 75);
    for (const char* rank : {"0", "1"}) CHECK(test::read_file(folder.path("saved") + rank) == "saved\n");
  }
}

TEST_CASE("launch: SIGUSR1 is handed on to a program of the user's, which goes on") {
  const TempFolder folder;
  const pid_t launcher = test::start_stflow(words(2,
                                                  "trap 'echo 1 > " + folder.path("got$RANK") + "; exit 4' USR1; echo $$ > " +
                                                      folder.path("pid$RANK") + "; while :; do sleep 0.05; done",
                                                  {"--grace", "2"}));
  for (const char* rank : {"0", "1"}) CHECK(number_in(folder.path("pid") + rank) > 0);
  kill(launcher, SIGUSR1);
  CHECK(test::ended(launcher) == 4);
  for (const char* rank : {"0", "1"}) CHECK(number_in(folder.path("got") + rank) == 1);
}

TEST_CASE("launch: who does not end within --grace is killed, and with a second signal at once") {
  const TempFolder folder;
  const std::string script = "trap '' TERM; echo $$ > " + folder.path("pid$RANK") + "; while :; do sleep 0.05; done";
  for (const bool twice : {false, true}) {
    for (const char* rank : {"0", "1"}) fs::remove(folder.path("pid") + rank);
    const pid_t launcher = test::start_stflow(words(2, script, {"--grace", twice ? "60" : "0.2"}));
    for (const char* rank : {"0", "1"}) CHECK(number_in(folder.path("pid") + rank) > 0);
    kill(launcher, SIGTERM);
    if (twice) usleep(50'000), kill(launcher, SIGINT);
    CHECK(test::seconds_of([&] { CHECK(test::ended(launcher) == 128 + (twice ? SIGINT : SIGKILL)); }) < 5);
    for (const char* rank : {"0", "1"}) CHECK(gone(number_in(folder.path("pid") + rank)));
  }
}

TEST_CASE("launch: a stopped worker does not outlive a failed one") {
  const test::Ran r = run(2, "[ $RANK = 1 ] && { sleep 0.1; exit 76; }; kill -STOP $$; exec sleep 100", {"--grace", "0.5"});
  CHECK(r.code == 76);
}

TEST_CASE("launch: no worker outlives the launcher, and nothing that a worker left behind") {
  const TempFolder folder;
  const pid_t launcher = test::start_stflow(words(2, "echo $$ > " + folder.path("pid$RANK") + "; exec sleep 1000"));
  for (const char* rank : {"0", "1"}) CHECK(number_in(folder.path("pid") + rank) > 0);
  kill(launcher, SIGKILL);
  CHECK(test::ended(launcher) == 128 + SIGKILL);
  for (const char* rank : {"0", "1"}) CHECK(soon([&] { return gone(number_in(folder.path("pid") + rank)); }));
  test::Ran r;
  CHECK(test::seconds_of([&] { r = run(2, "sleep 1000 & echo $! > " + folder.path("left$RANK")); }) < 10);
  CHECK(r.code == 0);
  for (const char* rank : {"0", "1"}) CHECK(soon([&] { return gone(number_in(folder.path("left") + rank)); }));
  // Out of its reach, but holding a pipe: not waited for.
  CHECK(test::seconds_of([&] { r = run(2, "setsid sleep 20 & sleep 0.1"); }) < 10);
  CHECK(r.code == 0);
}

TEST_CASE("launch: a reader that never reads keeps nobody from stopping") {
  const TempFolder folder;
  const std::string fifo = folder.path("fifo");
  const test::Ran r = test::run_shell("mkfifo " + fifo + "; sleep 20 < " + fifo + " & reader=$!; timeout --foreground -s KILL 20 " +
                                      "\"$STFLOW\" launch --grace 1 --no-stflow -- sh -c 'exec cat /dev/zero' > " + fifo +
                                      " & launcher=$!; sleep 0.5; kill -TERM $launcher; wait $launcher; code=$?; kill $reader; exit $code");
  CHECK(r.code == 128 + SIGTERM);
}

TEST_CASE("launch: a port in use is named before anything starts") {
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(s, reinterpret_cast<const sockaddr*>(&here), sizeof here) == 0);
  REQUIRE(::listen(s, 1) == 0);
  socklen_t size = sizeof here;
  REQUIRE(::getsockname(s, reinterpret_cast<sockaddr*>(&here), &size) == 0);
  const std::string port = std::to_string(ntohs(here.sin_port));
  const test::Ran r = run(2, "echo started", {"--master-port", port});
  ::close(s);
  CHECK(r.code == 69);
  CHECK(r.err == "stflow: error: --master-port: " + port + " is in use on this host, expected a free one; without the flag one is found\n");
  CHECK(r.out.empty());
}

TEST_CASE("bad input: launch: commands, programs and folders that cannot be") {
  const TempFolder folder;
  const auto refused = [](const Words& flags, int code, const std::string& line) {
    const test::Ran r = test::run_stflow(flags);
    CHECK(r.code == code);
    CHECK(r.err == "stflow: error: " + line + "\n");
  };
  refused({"launch"}, 64,
          "found no COMMAND, expected the command to run in each process, with its flags: train ...; see 'stflow launch --help'");
  refused({"launch", "--nproc-per-node", "2", "pretrain", "--out", "x"}, 64,
          "'pretrain': no command that several processes share, expected train, predict or embed; for any program pass --no-stflow");
  refused({"launch", "--nproc", "2", "train"}, 64,
          "--nproc: no such flag of 'stflow launch'; the nearest is --json (see 'stflow launch --help')");
  refused({"launch", "--no-stflow", "/nonexistent/program"}, 66,
          "/nonexistent/program: No such file or directory, expected a program that can be started");
  refused({"launch", "--log-dir", folder.file("file", "x"), "train"}, 73,
          folder.path("file") + "/attempt_0/0: Not a directory, expected an output folder");
}

TEST_CASE("launch: flags behind the command are the command's; what fails for good is not started again") {
  const test::Ran r =
      test::run_stflow({"launch", "--nproc_per_node=1", "--max-restarts", "2", "train", "--data", "/nonexistent", "--genes", "4"});
  CHECK(r.code == 66);
  CHECK(has(r.err, "stflow: error: /nonexistent"));
  CHECK(!has(r.err, "again"));
  const test::Ran help = test::run_stflow({"launch", "--", "train", "--help"});
  CHECK(help.code == 0);
  CHECK(has(help.out, "usage: stflow train"));
  const test::Ran own = test::run_stflow({"launch", "--help"});
  CHECK(has(own.out, "usage: stflow launch [flags] [--] COMMAND ...\n"));
}
