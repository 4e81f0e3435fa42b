// stflow train as a process, on three small generated sections whose genes follow the colour of the picture: what it writes, that a
// killed run ends as an undisturbed one, signals, refusals, and predict.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/image.h"
#include "data/png.h"
#include "engine/random.h"
#include "engine/safetensors.h"
#include "model/predictor.h"
#include "tests/files.h"
#include "tests/run.h"

using namespace stflow;
namespace fs = std::filesystem;

namespace {

constexpr int kAcross = 8, kDown = 6, kPitch = 24;  // spots, pixels between them

/// Writes sections A, B (train) and C (test) with their manifest, and an encoder that looks at 200 microns.
struct Data {
  test::TempFolder folder;

  Data() {
    folder.file("manifest.csv",
                "sample,image,counts,spots,mpp,patient,split\nA,A.png,A.tsv,A_spots.tsv,,p,train\nB,B.png,B.tsv,B_spots.tsv,,q,train\n"
                "C,C.png,C.tsv,C_spots.tsv,,r,test\n");
    for (uint32_t s = 0; s < 3; s++) section(std::string(1, char('A' + int(s))), s);
    const SafeTensors vit("tests/fixtures/vit_plain.safetensors");
    std::vector<OutTensor> tensors;
    std::vector<std::unique_ptr<Array>> values;
    for (const StoredTensor& t : vit.tensors()) {
      Shape shape;
      for (int64_t n : t.shape) shape.n[shape.rank++] = n;
      values.push_back(std::make_unique<Array>(shape, DType::f32));
      vit.read_into(t.name, *values.back());
      tensors.emplace_back(t.name, *values.back());
    }
    auto metadata = vit.metadata();
    metadata.erase("sha256");
    metadata["microns"] = "200";  // from spot to spot: kPitch pixels
    write_safetensors(path("encoder.safetensors"), std::move(tensors), metadata);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return folder.path(name); }

  /// The words of a run into folder `run`: 6 models of 12 steps.
  [[nodiscard]] std::vector<std::string> words(const std::string& run, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> w{"train",
                               "--data",
                               path("manifest.csv"),
                               "--encoder",
                               path("encoder.safetensors"),
                               "--cache-dir",
                               path("cache"),
                               "--save-dir",
                               path(run),
                               "--genes",
                               "6",
                               "--epochs",
                               "12",
                               "--members",
                               "2",
                               "--batch-size",
                               "2",
                               "--n-layers",
                               "1",
                               "--hidden-dim",
                               "8",
                               "--n-heads",
                               "2",
                               "--samples",
                               "4",
                               "--quiet",
                               "--save-every",
                               "5"};
    w.insert(w.end(), more.begin(), more.end());
    return w;
  }

 private:
  void section(const std::string& name, uint32_t s) const {
    Image image{(kAcross + 1) * kPitch, (kDown + 1) * kPitch,
                std::vector<uint8_t>(size_t((kAcross + 1) * (kDown + 1) * kPitch * kPitch * 3))};
    std::string counts, spots = "x\ty\tpixel_x\tpixel_y\tselected\n";
    for (int g = 0; g < 10; g++) counts += "\tG" + std::to_string(g);
    counts += "\n";
    for (int y = 1; y <= kDown; y++)
      for (int x = 1; x <= kAcross; x++) {
        const RandomKey key(s + 1, Stream::item, uint32_t(x), uint32_t(y));
        const Philox4 r = key.draw(0), noise = key.draw(1);
        for (int v = y * kPitch - kPitch / 2; v < y * kPitch + kPitch / 2; v++)
          for (int u = x * kPitch - kPitch / 2; u < x * kPitch + kPitch / 2; u++)
            for (size_t c = 0; c < 3; c++)
              image.rgb[(size_t(v) * size_t(image.width) + size_t(u)) * 3 + c] = uint8_t(r.v[c] % 200 + uint32_t(u * v % 20));
        const std::string id = std::to_string(x) + "x" + std::to_string(y);
        counts += id;
        for (uint32_t g = 0; g < 10; g++)
          counts += "\t" + std::to_string(int(double(r.v[g % 3] % 200) * (0.2 + 0.1 * g)) + int((noise.v[g % 4] >> g) % 8));
        counts += "\n";
        spots +=
            std::to_string(x) + "\t" + std::to_string(y) + "\t" + std::to_string(x * kPitch) + "\t" + std::to_string(y * kPitch) + "\t1\n";
      }
    write_png(path(name + ".png"), image);
    folder.file(name + ".tsv", counts);
    folder.file(name + "_spots.tsv", spots);
  }
};

/// What a run must give again, byte by byte.
std::vector<std::string> results(const std::string& run) {
  return {test::read_file(run + "/model.safetensors"), test::read_file(run + "/predictions/C.csv"), test::read_file(run + "/metrics.jsonl"),
          test::read_file(run + "/config.json")};
}

/// Every file with its final name is whole, whenever the run was killed.
void check_whole(const std::string& run) {
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(run, error)) {
    const std::string path = entry.path().string(), kind = entry.path().extension().string();
    CAPTURE(path);
    if (kind == ".safetensors") SafeTensors(path).verify();
    if (kind == ".json") CHECK(nlohmann::json::accept(test::read_file(path)));
    if (kind == ".csv") {
      const std::string text = test::read_file(path);
      CHECK(std::count(text.begin(), text.end(), '\n') == kAcross * kDown + 1);
      CHECK(text.ends_with("\n"));
    }
    if (kind == ".png") CHECK(test::read_file(path).ends_with("IEND\xae\x42\x60\x82"));
  }
}

/// Starts stflow, silent, and returns its process.
pid_t start(const std::vector<std::string>& words) {
  std::string binary = (fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "stflow").string();
  std::vector<std::string> all{binary};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& w : all) argv.push_back(w.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO), dup2(null, STDOUT_FILENO), dup2(null, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  return child;
}

/// Its exit code, or 128 + the signal that ended it.
int ended(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool has_checkpoint(const std::string& run) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints", error))
    if (entry.path().extension() == ".safetensors") return true;
  return false;
}

double seconds_of(const std::function<void()>& run) {
  const auto before = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
}

/// Kills the same run `kills` times with SIGKILL and lets it end; it must end as a whole one does. A kill comes at a random time
/// up to `share` of a whole run after the start, so that runs get on between two kills and the kills spread over all of a run.
void killed_runs(int kills, double share) {
  const Data data;
  REQUIRE(test::run_stflow(data.words("first")).code == 0);  // fills the cache of features
  const std::vector<std::string> more{"--threads", "1", "--save-every", "1"};
  const double whole = seconds_of([&] { REQUIRE(test::run_stflow(data.words("whole", more)).code == 0); });
  const std::vector<std::string> want = results(data.path("whole"));
  for (const std::string& file : want) REQUIRE(!file.empty());
  int died = 0, amid = 0;
  size_t run = 0;
  for (uint32_t i = 0; died < kills && i < uint32_t(4 * kills); i++) {
    const std::string name = "killed" + std::to_string(run), folder = data.path(name);
    std::vector<std::string> words = data.words(name, more);
    if (fs::exists(folder + "/checkpoints")) words.emplace_back("--resume");
    const bool begun = has_checkpoint(folder);
    const pid_t child = start(words);
    const Philox4 r = RandomKey(7, Stream::item, i, 0).draw(0);
    usleep(useconds_t(1e6 * whole * share * open01(r.v[0], r.v[1])));
    kill(child, SIGKILL);
    const int code = ended(child);
    check_whole(folder);
    died += code == 128 + SIGKILL;
    amid += code == 128 + SIGKILL && begun;
    if (code == 0) {  // it was faster: compare, and go on with another
      CHECK(results(folder) == want);
      run++;
    } else {
      CHECK(code == 128 + SIGKILL);
      if (!fs::exists(folder + "/model.safetensors")) continue;
      CHECK(results(folder) == want);  // killed behind its last file
      run++;
    }
  }
  CHECK(died == kills);
  CHECK(3 * amid >= kills);  // guards the test: enough kills hit a run that had continued from a checkpoint
  const std::string folder = data.path("killed" + std::to_string(run));
  std::vector<std::string> words = data.words("killed" + std::to_string(run), more);
  if (fs::exists(folder + "/checkpoints")) words.emplace_back("--resume");
  const test::Ran last = test::run_stflow(words);
  CHECK_MESSAGE(last.code == 0, last.err);
  CHECK(results(folder) == want);
}

}  // namespace

TEST_CASE("train: one JSON object on stdout, and a folder with everything") {
  const Data data;
  const test::Ran r = test::run_stflow(data.words("run", {"--json"}));
  REQUIRE_MESSAGE(r.code == 0, r.err);
  const auto j = nlohmann::json::parse(r.out);  // throws for more than one
  CHECK(j["test"]["pearson_mean"].is_number());
  CHECK(j["test"]["pearson_per_gene"].size() == 6);
  CHECK(j["baselines"]["ridge"]["pearson_mean"] > 0.3);  // genes follow the colours
  CHECK(j["baselines"]["ridge_smoothed"]["pearson_mean"].is_number());
  CHECK(j["seconds"] > 0);
  CHECK(j["peak_rss_bytes"] > 1e6);
  const std::string run = data.path("run");
  CHECK(nlohmann::json::parse(test::read_file(run + "/summary.json")) == j);
  CHECK(nlohmann::json::parse(test::read_file(run + "/config.json"))["genes"].size() == 6);
  CHECK(Predictor::load(run + "/model.safetensors").genes.size() == 6);
  int maps = 0;
  for (const auto& entry : fs::directory_iterator(run + "/maps")) maps += entry.path().extension() == ".png";
  CHECK(maps == 4);
  const std::string metrics = test::read_file(run + "/metrics.jsonl");
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 6 * 12);  // two folds and the final model, of two members
  CHECK(!fs::exists(run + "/checkpoints"));
  check_whole(run);

  // Again: features from the cache, at other numbers of threads.
  for (const char* threads : {"1", "2", "3"}) {
    const test::Ran again = test::run_stflow(data.words("again", {"--threads", threads, "--overwrite", "--log-file", data.path("log")}));
    CHECK(again.code == 0);
    CHECK(results(data.path("again")) == results(run));
  }
  CHECK(test::read_file(data.path("log")).find("features: 3 sections from the cache") != std::string::npos);

  // predict gives the same numbers for the test section.
  data.folder.file("c.csv", "sample,image,counts,spots,mpp\nC,C.png,C.tsv,C_spots.tsv,\n");
  const std::vector<std::string> predict{
      "predict",          run,     "--data",           data.path("c.csv"), "--encoder", data.path("encoder.safetensors"), "--cache-dir",
      data.path("cache"), "--out", data.path("C.csv"), "--quiet"};
  const test::Ran p = test::run_stflow(predict);
  CHECK_MESSAGE(p.code == 0, p.err);
  CHECK(test::read_file(data.path("C.csv")) == test::read_file(run + "/predictions/C.csv"));
  CHECK(test::run_stflow(predict).code == 73);  // the file exists
}

TEST_CASE("train: killed three times it ends as an undisturbed run") { killed_runs(3, 0.5); }

TEST_CASE("slow: train: killed fifty times at random it ends as undisturbed runs") { killed_runs(50, 0.8); }

TEST_CASE("train: SIGTERM and SIGINT leave a checkpoint and exit 75; --resume ends as an undisturbed run") {
  const Data data;
  REQUIRE(test::run_stflow(data.words("whole", {"--epochs", "60"})).code == 0);
  for (int signal : {SIGTERM, SIGINT}) {
    const std::string name = "stopped" + std::to_string(signal), run = data.path(name);
    const pid_t child = start(data.words(name, {"--epochs", "60"}));
    for (int i = 0; i < 5000 && !has_checkpoint(run); i++) usleep(1000);
    kill(child, signal);
    CHECK(ended(child) == 75);
    CHECK(has_checkpoint(run));
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

TEST_CASE("train: a damaged checkpoint is named and the one before it used") {
  const Data data;
  REQUIRE(test::run_stflow(data.words("whole", {"--epochs", "60"})).code == 0);
  const pid_t child = start(data.words("run", {"--epochs", "60"}));
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
  REQUIRE(ended(child) == 75);
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

TEST_CASE("bad input: a run that cannot be written ends with 74, its last checkpoint whole, and can be resumed") {
  const Data data;
  REQUIRE(test::run_stflow(data.words("whole")).code == 0);
  std::string line = "\"$STFLOW\"";
  for (const std::string& w : data.words("run")) line += " '" + w + "'";
  const test::Ran r = test::run_shell("ulimit -f 60; exec " + line);  // 30 or 60 KB: less than a checkpoint
  CHECK(r.code == 74);
  CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
  CHECK_MESSAGE(r.err.find("File too large") != std::string::npos, r.err);
  check_whole(data.path("run"));
  CHECK(!fs::exists(data.path("run/model.safetensors")));
  CHECK(test::run_stflow(data.words("run", {"--resume"})).code == 0);
  CHECK(results(data.path("run")) == results(data.path("whole")));
}

TEST_CASE("train: --dry-run shows the plan and writes no run") {
  const Data data;
  std::vector<std::string> words = data.words("run", {"--dry-run"});
  std::erase(words, "--quiet");
  const test::Ran r = test::run_stflow(words);
  CHECK(r.code == 0);
  CHECK(r.out.empty());
  CHECK(r.err.find("2 train, 0 val, 1 test sections, 144 spots, 6 genes") != std::string::npos);
  CHECK(r.err.find("plan: 6 x 12 steps") != std::string::npos);
  CHECK(!fs::exists(data.path("run")));
}

TEST_CASE("bad input: train and predict refuse in one line, before any work") {
  const Data data;
  data.folder.file("full/note", "mine");
  const std::string file = data.folder.file("file", "x");
  const std::string no_test = data.folder.file("no_test.csv", "sample,image,counts,spots,mpp,split\nA,A.png,A.tsv,A_spots.tsv,,train\n");
  struct Case {
    std::vector<std::string> more;
    int code;
    std::string line;
  };
  for (const Case& c : std::vector<Case>{
           {{"--save-dir", data.path("full")},
            73,
            data.path("full") + ": exists and is not empty, expected a new folder; pass --overwrite, or --resume to continue it"},
           {{"--save-dir", file + "/run"}, 73, file + ": a file, expected an output folder"},
           {{"--save-dir", "/proc/run"}, 73, "/proc/run"},
           {{"--save-dir", data.path("none"), "--resume"}, 66, data.path("none") + ": holds no run, expected one to resume"},
           {{"--epoch", "3"}, 64, "--epoch: no such flag of 'stflow train'; the nearest is --epochs (see 'stflow train --help')"},
           {{"--epochs", "many"}, 64, "--epochs: found 'many', expected a number from 0.01 to 1000000"},
           {{"--members", "0"}, 64, "--members: found '0', expected a whole number from 1 to 64"},
           {{"--prior", "poisson"}, 64, "--prior: found 'poisson', expected zinb, zinb:fixed, nb:moments, gaussian or zero"},
           {{"--preset", "best"}, 64, "--preset: found 'best', expected one of default, reference"},
           {{"--eval-every", "1"}, 64, "--eval-every: found 1 with 2 members, expected --members 1"},
           {{"--n-heads", "3"}, 64, "denoiser: "},
           {{"--genes", "0"}, 64, "--genes: found 0, expected at least 1"},
           {{"--genes", "11"}, 65, "genes: 10 genes are found in at least 10 % of the spots"},
           {{"--genes", data.path("none.json")}, 66, data.path("none.json") + ": No such file or directory, expected a readable file"},
           {{"--data", data.path("none")}, 66, data.path("none")},
           {{"--data", no_test}, 65, no_test + ": split: no test section, expected one or more; name it with --test"},
           {{"--encoder", data.path("A.png")}, 65, data.path("A.png") + ": "},
           {{"--encoder", "tests/fixtures/vit_plain.safetensors"},
            65,
            "tests/fixtures/vit_plain.safetensors: metadata: no 'microns', expected the side of a patch in tissue"},
           {{"--embeddings", data.path("none")}, 66, data.path("none")},
       }) {
    const test::Ran r = test::run_stflow(data.words("run", c.more));
    CAPTURE(c.line);
    CHECK(r.code == c.code);
    CHECK_MESSAGE(r.err.starts_with("stflow: error: " + c.line), r.err);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
    CHECK(r.out.empty());
    CHECK(!fs::exists(data.path("run") + "/model.safetensors"));
  }
  CHECK(test::read_file(data.path("full/note")) == "mine");
  for (const Case& c : std::vector<Case>{
           {{"predict", data.path("none"), "--data", data.path("manifest.csv"), "--out", data.path("o.csv")}, 66, data.path("none")},
           {{"predict", data.path("A.png"), "--data", data.path("manifest.csv"), "--out", data.path("o.csv")}, 65, data.path("A.png")},
           {{"predict", "m", "--data", data.path("manifest.csv")}, 64, "--out: found nothing, expected a file to write"},
           {{"predict", "m", "--out", data.path("o.csv")}, 64, "--data: found nothing, expected sections to predict"},
           {{"predict", "m", "--data", "d", "--out", file}, 73, file + ": exists, expected a new file; pass --overwrite"},
       }) {
    const test::Ran r = test::run_stflow(c.more);
    CAPTURE(c.line);
    CHECK(r.code == c.code);
    CHECK_MESSAGE(r.err.starts_with("stflow: error: " + c.line), r.err);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
  }
}
