// stflow train as a process that is interrupted: by SIGKILL at any moment, by the signals of a scheduler or a user, by a
// second signal, by a damaged checkpoint. What is there is whole, and a run that goes on ends as an undisturbed one.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "engine/random.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
using test::results;
using test::TinyRun;
namespace fs = std::filesystem;

namespace {

constexpr int kStops[] = {SIGTERM, SIGINT, SIGUSR1};

/// U(0, 1), the same for the same numbers.
double uniform(uint32_t i, uint32_t j = 0) {
  const Philox4 r = RandomKey(7, Stream::item, i, j).draw(0);
  return open01(r.v[0], r.v[1]);
}

void sleep_for(double seconds) { usleep(useconds_t(1e6 * seconds)); }

/// Interrupts the same run until it was `times` times, and lets it end; it must end as a whole one does.
/// `interrupt(process, i, seconds)` waits so long, does it, and returns the process's exit code. The seconds are random, up to `share`
/// of a whole run, so that runs get on between two interruptions and these spread over all of a run.
void interrupted_runs(int times, double share, const std::function<int(pid_t, uint32_t, double)>& interrupt) {
  const TinyRun data;
  REQUIRE(test::run_stflow(data.words("first")).code == 0);  // fills the cache of features
  const std::vector<std::string> more{"--threads", "1", "--save-every", "1"};
  const double whole = test::seconds_of([&] { REQUIRE(test::run_stflow(data.words("whole", more)).code == 0); });
  const std::vector<std::string> want = results(data.path("whole"));
  for (const std::string& file : want) REQUIRE(!file.empty());
  int hit = 0, amid = 0, run = 0;
  auto words_now = [&] {
    const std::string name = "run" + std::to_string(run);
    std::vector<std::string> words = data.words(name, more);
    if (fs::exists(data.path(name) + "/checkpoints")) words.emplace_back("--resume");
    return words;
  };
  for (uint32_t i = 0; hit < times && i < uint32_t(4 * times); i++) {
    const std::string folder = data.path("run" + std::to_string(run));
    const bool begun = test::has_checkpoint(folder);
    const int code = interrupt(test::start_stflow(words_now()), i, whole * share * uniform(i));
    CAPTURE(code);
    test::check_whole(folder);
    hit += code != 0;
    amid += code != 0 && begun;
    const bool finished = fs::exists(folder + "/model.safetensors");
    if (code == 0) CHECK(finished);
    if (code == 75) {
      CHECK(!finished);
      CHECK(test::has_checkpoint(folder));
    }
    if (!finished) continue;
    CHECK(results(folder) == want);  // it was faster, or hit behind its last file: go on with another
    run++;
  }
  CHECK(hit == times);
  CHECK(6 * amid >= times);  // guards the test: enough of them hit a run that had continued from a checkpoint
  const test::Ran last = test::run_stflow(words_now());
  CHECK_MESSAGE(last.code == 0, last.err);
  CHECK(last.err.find("warning") == std::string::npos);  // no checkpoint was damaged
  CHECK(results(data.path("run" + std::to_string(run))) == want);
}

void killed_runs(int times, double share) {
  interrupted_runs(times, share, [](pid_t process, uint32_t, double seconds) {
    sleep_for(seconds);
    kill(process, SIGKILL);
    const int code = test::ended(process);
    CHECK((code == 0 || code == 128 + SIGKILL));
    return code;
  });
}

/// Every third time a second signal comes right behind the first.
void stopped_runs(int times, double share) {
  int second = 0, at_once = 0;
  interrupted_runs(times, share, [&](pid_t process, uint32_t i, double seconds) {
    for (int signal : kStops) test::wait_until_caught(process, signal);
    sleep_for(seconds);
    const int one = kStops[i % 3], two = kStops[(i + 1 + i / 3 % 2) % 3];
    const bool twice = i % 3 == 2;
    kill(process, one);
    if (twice) kill(process, two);
    int code = -1;
    CHECK(test::seconds_of([&] { code = test::ended(process); }) < 30);
    second += twice && code != 0;
    at_once += code > 128;
    CHECK((code == 0 || code == 75 || (twice && (code == 128 + one || code == 128 + two))));
    return code;
  });
  CHECK(2 * at_once >= second);  // a second signal may still find a process that is just ending
  CHECK(second > 0);
}

}  // namespace

TEST_CASE("train: killed three times it ends as an undisturbed run") { killed_runs(3, 0.5); }

TEST_CASE("slow: train: killed fifty times at random it ends as undisturbed runs") { killed_runs(50, 0.8); }

TEST_CASE("train: stopped by six signals, two of them doubled, it ends as an undisturbed run") { stopped_runs(6, 0.3); }

TEST_CASE("slow: train: stopped by fifty signals at random, every third doubled, it ends as undisturbed runs") { stopped_runs(50, 0.8); }

TEST_CASE("train: a signal while features are computed ends with 75 too, and what is in the cache serves the next start") {
  const TinyRun data;
  int embedding = 0;
  for (int i = 0; i < 6; i++) {
    const std::string run = data.path("run"), cache = data.path("cache" + std::to_string(i));
    const pid_t process = test::start_stflow(data.words("run", {"--cache-dir", cache, "--threads", "1", "--overwrite"}));
    test::wait_until_caught(process, SIGTERM);  // before it reads a section
    kill(process, SIGTERM);
    CHECK(test::ended(process) == 75);
    embedding += !fs::exists(run);
    fs::remove_all(run);
  }
  CHECK(embedding > 0);  // guards the test: the others were behind their features
  CHECK(test::run_stflow(data.words("run", {"--cache-dir", data.path("cache0")})).code == 0);
}

TEST_CASE("train: SIGTERM and SIGINT leave a checkpoint and exit 75; --resume ends as an undisturbed run") {
  const TinyRun data;
  REQUIRE(test::run_stflow(data.words("whole", {"--epochs", "60"})).code == 0);
  for (int signal : {SIGTERM, SIGINT}) {
    const std::string name = "stopped" + std::to_string(signal), run = data.path(name);
    const pid_t child = test::start_stflow(data.words(name, {"--epochs", "60"}));
    for (int i = 0; i < 5000 && !test::has_checkpoint(run); i++) usleep(1000);
    kill(child, signal);
    CHECK(test::ended(child) == 75);
    CHECK(test::has_checkpoint(run));
    CHECK(!fs::exists(run + "/model.safetensors"));
    // Other flags are refused, and change nothing.
    const std::string config = test::read_file(run + "/config.json");
    const test::Ran other = test::run_stflow(data.words(name, {"--epochs", "60", "--resume", "--lr", "0.5"}));
    CHECK(other.code == 65);
    CHECK(other.err.find(": config: 'lr' was ") != std::string::npos);
    CHECK(test::read_file(run + "/config.json") == config);
    CHECK(test::run_stflow(data.words(name, {"--epochs", "60", "--resume"})).code == 0);
    CHECK(results(run) == results(data.path("whole")));
  }
}

TEST_CASE("train: a signal while the trained model is scored ends with 75 too; --resume ends as an undisturbed run") {
  const TinyRun data;
  const std::vector<std::string> more{"--samples", "256"};  // so that drawing takes longer than to notice that it has begun
  REQUIRE(test::run_stflow(data.words("whole", more)).code == 0);
  std::vector<std::string> resume = more;
  resume.emplace_back("--resume");
  int amid = 0;
  for (const char* begun : {"/predictions", "/predictions/C.csv", "/maps"})
    for (int i = 0; i < 2; i++) {
      const std::string name = "run" + std::to_string(i) + std::to_string(amid), run = data.path(name);
      const pid_t process = test::start_stflow(data.words(name, more));
      for (int polls = 0; polls < 100000 && !fs::exists(run + begun); polls++) usleep(200);
      kill(process, kStops[i]);
      const int code = test::ended(process);
      const bool finished = fs::exists(run + "/model.safetensors");
      CHECK(code == (finished ? 0 : 75));  // behind its last file it is too late to stop
      test::check_whole(run);
      if (!finished) {
        amid++;
        CHECK(test::has_checkpoint(run));
        CHECK(test::run_stflow(data.words(name, resume)).code == 0);
      }
      CHECK(results(run) == results(data.path("whole")));
      fs::remove_all(run);
    }
  CHECK(amid >= 1);  // guards the test
}

TEST_CASE("train: a damaged checkpoint is named and the one before it used") {
  const TinyRun data;
  REQUIRE(test::run_stflow(data.words("whole", {"--epochs", "60"})).code == 0);
  const pid_t child = test::start_stflow(data.words("run", {"--epochs", "60"}));
  const std::string folder = data.path("run") + "/checkpoints";
  auto checkpoints = [&] {
    std::vector<std::string> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error))
      if (entry.path().extension() == ".safetensors") found.push_back(entry.path().string());
    std::sort(found.begin(), found.end());
    return found;
  };
  for (int i = 0; i < 5000 && checkpoints().size() < 2; i++) usleep(1000);
  kill(child, SIGTERM);
  REQUIRE(test::ended(child) == 75);
  const std::vector<std::string> found = checkpoints();
  REQUIRE(found.size() == 2);
  std::string bytes = test::read_file(found[1]);
  bytes[bytes.size() / 2] ^= 1;
  data.folder.file("run/checkpoints/" + fs::path(found[1]).filename().string(), bytes);
  const test::Ran r = test::run_stflow(data.words("run", {"--epochs", "60", "--resume"}));
  CHECK(r.code == 0);
  CHECK(r.err.find("warning: " + found[1] + ": ") != std::string::npos);
  CHECK(r.err.find("; using the checkpoint before it") != std::string::npos);
  CHECK(results(data.path("run")) == results(data.path("whole")));
}
