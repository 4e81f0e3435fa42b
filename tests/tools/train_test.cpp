// stflow train as a process: what it writes, refusals, and predict.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/cuda/memory.h"
#include "model/predictor.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
namespace fs = std::filesystem;

TEST_CASE("train: one JSON object on stdout, and a folder with everything") {
  const test::TinyRun data;
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
  test::check_whole(run);

  // Again: features from the cache, at other numbers of threads.
  for (const char* threads : {"1", "2", "3"}) {
    const test::Ran again = test::run_stflow(data.words("again", {"--threads", threads, "--overwrite", "--log-file", data.path("log")}));
    CHECK(again.code == 0);
    CHECK(test::results(data.path("again")) == test::results(run));
  }
  CHECK(test::read_file(data.path("log")).find("features: 3 sections from the cache") != std::string::npos);

  // predict gives the same numbers for the test section.
  data.folder.file("c.csv", "sample,image,counts,spots,mpp\nC,C.png,C.tsv,C_spots.tsv,\n");
  const std::vector<std::string> predict{
      "predict", data.path("c.csv"), "--model", run, "--encoder", data.path("encoder.safetensors"), "--cache-dir", data.path("cache"),
      "--out",   data.path("C.csv"), "--quiet"};
  const test::Ran p = test::run_stflow(predict);
  CHECK_MESSAGE(p.code == 0, p.err);
  CHECK(test::read_file(data.path("C.csv")) == test::read_file(run + "/predictions/C.csv"));
  CHECK(test::run_stflow(predict).code == 73);  // the file exists
}

TEST_CASE("bad input: a run that cannot be written ends with 74, its last checkpoint whole, and can be resumed") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(data.words("whole")).code == 0);
  std::string line = "\"$STFLOW\"";
  for (const std::string& w : data.words("run")) line += " '" + w + "'";
  const test::Ran r = test::run_shell("ulimit -f 60; exec " + line);  // 30 or 60 KB: less than a checkpoint
  CHECK(r.code == 74);
  CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
  CHECK_MESSAGE(r.err.find("File too large") != std::string::npos, r.err);
  test::check_whole(data.path("run"));
  CHECK(!fs::exists(data.path("run/model.safetensors")));
  CHECK(test::run_stflow(data.words("run", {"--resume"})).code == 0);
  CHECK(test::results(data.path("run")) == test::results(data.path("whole")));
}

TEST_CASE("train: nothing is chosen by the test section: with other counts or another picture the model is the same, byte for byte") {
  using Words = std::vector<std::string>;
  for (const Words& split : {Words{}, Words{"--train", "A", "--val", "B", "--test", "C"}}) {
    const test::TinyRun data;
    std::vector<nlohmann::json> said;
    Words models, metrics, predictions;
    auto run = [&] {
      const std::string folder = "run" + std::to_string(said.size());
      Words words = data.words(folder, {"--json"});
      words.insert(words.end(), split.begin(), split.end());
      const test::Ran r = test::run_stflow(words);
      REQUIRE_MESSAGE(r.code == 0, r.err);
      said.push_back(nlohmann::json::parse(r.out));
      models.push_back(test::read_file(data.path(folder + "/model.safetensors")));
      metrics.push_back(test::read_file(data.path(folder + "/metrics.jsonl")));
      predictions.push_back(test::read_file(data.path(folder + "/predictions/C.csv")));
    };
    run();
    data.folder.file("C.tsv", test::read_file(data.path("A.tsv")));
    run();
    data.folder.file("C.png", test::read_file(data.path("A.png")));
    run();
    for (size_t i : {1, 2}) {
      CHECK(models[i] == models[0]);
      CHECK(metrics[i] == metrics[0]);
      CHECK(said[i]["validation"] == said[0]["validation"]);
      CHECK(said[i]["test"] != said[i - 1]["test"]);  // guards the test: something did change
    }
    CHECK(said[0]["validation"]["pearson_mean"].is_number());
    CHECK(predictions[1] == predictions[0]);
    CHECK(predictions[2] != predictions[0]);
  }
}

TEST_CASE("train: --dry-run shows the plan and writes no run") {
  const test::TinyRun data;
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
  const test::TinyRun data;
  data.folder.file("full/note", "mine");
  const std::string file = data.folder.file("file", "x");
  const std::string no_train = data.folder.file("no_train.csv", "sample,image,counts,spots,mpp,split\nA,A.png,A.tsv,A_spots.tsv,,test\n");
  const std::string panel = data.folder.file("panel.json", R"({"genes": ["G1", "G2", "ACTB"]})");
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
           {{"--save-dir", data.path("none"), "--resume"}, 66, data.path("none") + ": holds no run, expected one to resume"},
           {{"--epoch", "3"}, 64, "--epoch: no such flag of 'stflow train'; the nearest is --epochs (see 'stflow train --help')"},
           {{"--epochs", "many"}, 64, "--epochs: found 'many', expected a number from 0.01 to 1000000"},
           {{"--members", "0"}, 64, "--members: found '0', expected a whole number from 1 to 64"},
           {{"--prior", "poisson"}, 64, "--prior: found 'poisson', expected zinb, zinb:fixed, nb:moments, gaussian or zero"},
           {{"--preset", "best"}, 64, "--preset: found 'best', expected one of default, reference"},
           {{"--eval-every", "1"}, 64, "--eval-every: found 1 with 2 members, expected --members 1"},
           {{"--n-heads", "3"}, 64, "denoiser: features 1024, genes 50, layers 1, heads 3, hidden 8, pairwise 8, expected 1 to 16 layers"},
           {{"--hidden-dim", "1024"}, 64, "denoiser: hidden 1024 x pairwise 1024 / heads 2, expected at most 65536; more heads"},
           {{"--hidden-dim", "64", "--n-heads", "32", "--n-neighbors", "256"},
            64,
            "denoiser: 256 neighbours x 32 heads, expected at most 4096"},
           {{"--genes", "0"}, 64, "--genes: found 0, expected at least 1"},
           {{"--genes", "11"}, 65, "genes: 10 genes are found in at least 10 % of the spots"},
           {{"--genes", data.path("none.json")}, 66, data.path("none.json") + ": No such file or directory, expected a readable file"},
           {{"--data", data.path("none")}, 66, data.path("none")},
           {{"--genes", panel}, 65, data.path("A.tsv") + ": 1 of 3 panel genes missing (ACTB), expected all"},
           {{"--data", no_train}, 65, no_train + ": split: no training section, expected one or more"},
           {{"--data", no_test}, 65, no_test + ": split: no test section, expected one or more; name it with --test"},
           {{"--encoder", data.path("A.png")}, 65, data.path("A.png") + ": "},
           {{"--encoder", "tests/fixtures/vit_plain.safetensors"},
            65,
            "tests/fixtures/vit_plain.safetensors: metadata: no 'microns', expected the side of a patch in tissue"},
           {{"--embeddings", data.path("none")}, 66, data.path("none")},
           {{"--save-dir", "/proc/run"}, 73, "/proc"},
           {{"--device", "cpu", "--precision", "tf32"},
            64,
            "--precision: found tf32 on the CPU, expected stored, f32, f16, bf16 or int8; --device cuda has tf32"},
       }) {
    const test::Ran r = test::run_stflow(data.words("run", c.more));
    CAPTURE(c.line);
    CHECK(r.code == c.code);
    CHECK_MESSAGE(r.err.starts_with("stflow: error: " + c.line), r.err);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
    CHECK(r.out.empty());
    CHECK(!fs::exists(data.path("run") + "/model.safetensors"));
    CHECK(!fs::exists(data.path("cache")));  // no features were computed
  }
  CHECK(test::read_file(data.path("full/note")) == "mine");
  for (const Case& c : std::vector<Case>{
           {{"predict", data.path("manifest.csv"), "--model", data.path("none"), "--out", data.path("o.csv")}, 66, data.path("none")},
           {{"predict", data.path("manifest.csv"), "--model", data.path("A.png"), "--out", data.path("o.csv")}, 65, data.path("A.png")},
           {{"predict", data.path("manifest.csv"), "--model", "m"}, 64, "--out: found nothing, expected a file to write"},
           {{"predict", "d", "--out", data.path("o.csv")}, 64, "--model: found nothing, expected a run's folder or its model.safetensors"},
           {{"predict", "d", "--model", "m", "--out", data.path("o.csv"), "--device", "cpu", "--precision", "tf32"},
            64,
            "--precision: found tf32 on the CPU, expected stored, f32, f16, bf16 or int8; --device cuda has tf32"},
           {{"predict", "d", "--model", "m", "--out", file}, 73, file + ": exists, expected a new file; pass --overwrite"},
       }) {
    const test::Ran r = test::run_stflow(c.more);
    CAPTURE(c.line);
    CHECK(r.code == c.code);
    CHECK_MESSAGE(r.err.starts_with("stflow: error: " + c.line), r.err);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
  }
}

TEST_CASE("train: a run on the device, emulated, predicts what the CPU's does") {
  if (!cuda_is_emulated()) return;
  const test::TinyRun tiny;
  auto scores = [&](const std::string& run, const std::vector<std::string>& device) {
    const test::Ran r = test::run_stflow(tiny.words(run, device));
    REQUIRE(r.code == 0);
    return nlohmann::json::parse(test::read_file(tiny.path(run) + "/summary.json"))["test"]["pearson_mean"].get<double>();
  };
  const double cpu = scores("cpu", {"--device", "cpu", "--members", "1", "--epochs", "1"}),
               cuda = scores("cuda", {"--device", "cuda", "--emulate", "--members", "1", "--epochs", "1"});
  CHECK(cuda == doctest::Approx(cpu).epsilon(1e-3));
}

TEST_CASE("slow: predict: --no-graph gives a GPU the same work kernel by kernel, to the same bytes") {
  if (!cuda_is_emulated()) return;
  const test::TinyRun tiny;
  REQUIRE(test::run_stflow(tiny.words("run", {"--device", "cpu", "--members", "1", "--epochs", "1"})).code == 0);
  auto with = [&](const std::string& flag) {
    std::vector<std::string> words = tiny.predict("run", flag + ".csv");
    words.insert(words.end(), {"--device", "cuda", "--emulate", flag});
    const test::Ran r = test::run_stflow(words);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    return test::read_file(tiny.path(flag + ".csv"));
  };
  CHECK(with("--graph") == with("--no-graph"));
}
