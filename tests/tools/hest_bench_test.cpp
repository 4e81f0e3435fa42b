// stflow train --protocol hest-bench on a generated task of three slides and two folds, whose genes follow the colour of the patches.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/hdf5_write.h"
#include "data/prediction/prediction.h"
#include "engine/random.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
using namespace stflow::test;
using Json = nlohmann::json;
using Words = std::vector<std::string>;
using Rows = std::map<std::string, std::vector<double>>;  // by spot

namespace {

constexpr int kSpots = 40, kSide = 32, kGenes = 6;
const std::vector<std::string> kPanel{"G4", "G0", "G3"};

double count_of(const std::string& slide, int spot, int gene) {
  const Philox4 r = RandomKey(uint64_t(slide[0]), Stream::item, uint32_t(spot)).draw(0);
  return double(r.v[gene % 3] % 200 * uint32_t(gene + 1) / 8 + (r.v[3] >> gene) % 6);
}

/// A slide's patches, in another order than its spots and one more than these, and its expression.
void write_slide(const std::string& task, const std::string& name) {
  Section s;
  s.source.sample = name;
  PredictionFile p;
  std::vector<uint8_t> pixels;
  std::vector<int64_t> corners;
  std::vector<std::string> barcodes;
  for (int g = 0; g < kGenes; g++) p.genes.push_back("G" + std::to_string(g));
  for (int i = 0; i < kSpots; i++) {
    s.spots.push_back(name + "-" + std::to_string(i));
    s.xy.insert(s.xy.end(), {100.0 * (i % 8), 100.0 * double(i / 8)});
    for (int g = 0; g < kGenes; g++) p.mean.push_back(float(count_of(name, i, g)));
  }
  for (int i = kSpots; i >= 0; i--) {
    const Philox4 r = RandomKey(uint64_t(name[0]), Stream::item, uint32_t(i)).draw(0);
    for (int v = 0; v < kSide * kSide; v++)
      for (size_t c = 0; c < 3; c++) pixels.push_back(uint8_t(r.v[c] % 200 + uint32_t(v % 17)));
    corners.insert(corners.end(), {100 * (i % 8), 100 * (i / 8)});
    barcodes.push_back(name + "-" + std::to_string(i));
  }
  p.section = &s;
  write_prediction(task + "/adata/" + name + ".h5ad", p);
  Hdf5Writer file(task + "/patches/" + name + ".h5");
  file.numbers<uint8_t>("img", {kSpots + 1, kSide, kSide, 3}, pixels.data());
  file.numbers<int64_t>("coords", {kSpots + 1, 2}, corners.data());
  file.strings("barcode", {kSpots + 1, 1}, barcodes);
  file.commit();
}

std::string rows_of(const std::string& names) {
  std::string text = "sample_id,patches_path,expr_path\n";
  for (const char n : names) text += fmt::format("{0},patches/{0}.h5,adata/{0}.h5ad\n", n);
  return text;
}

struct Task {
  TinyRun tiny;  // for its encoder and its flags
  std::string path = tiny.path("TASK");

  Task() {
    for (const char* sub : {"adata", "patches"}) std::filesystem::create_directories(path + "/" + sub);
    for (const char* name : {"A", "B", "C"}) write_slide(path, name);
    split(0, "AB", "C"), split(1, "BC", "A");
    static_cast<void>(tiny.folder.file("TASK/var_50genes.json", R"({"genes": ["G4", "G0", "G3"]})"));
  }
  void split(int fold, const std::string& train, const std::string& test) const {
    static_cast<void>(tiny.folder.file(fmt::format("TASK/splits/train_{}.csv", fold), rows_of(train)));
    static_cast<void>(tiny.folder.file(fmt::format("TASK/splits/test_{}.csv", fold), rows_of(test)));
  }
  [[nodiscard]] std::vector<std::string> words(const std::string& run, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> w = tiny.words(run, {"--data", path, "--protocol", "hest-bench", "--members", "1", "--epochs", "4"});
    const auto genes = std::find(w.begin(), w.end(), "--genes");
    w.erase(genes, genes + 2);
    w.insert(w.end(), more.begin(), more.end());
    return w;
  }
};

Rows read_csv(const std::string& path) {
  Rows rows;
  std::istringstream text(read_file(path));
  std::string line, cell;
  std::getline(text, line);
  CHECK(line == "spot,x,y,G4,G0,G3");
  while (std::getline(text, line)) {
    std::istringstream cells(line);
    std::string spot;
    std::getline(cells, spot, ',');
    while (std::getline(cells, cell, ',')) rows[spot].push_back(std::stod(cell));
  }
  return rows;
}

/// Pearson's correlation by its definition, of gene `g` of the panel over a slide.
double correlation(const Rows& rows, const std::string& slide, size_t g) {
  std::vector<double> x, y;
  for (const auto& [spot, cells] : rows) {
    x.push_back(cells[2 + g]);
    y.push_back(std::log1p(count_of(slide, std::stoi(spot.substr(2)), kPanel[g][1] - '0')));
  }
  double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); i++) mx += x[i] / double(x.size()), my += y[i] / double(x.size());
  for (size_t i = 0; i < x.size(); i++) xx += (x[i] - mx) * (x[i] - mx), yy += (y[i] - my) * (y[i] - my), xy += (x[i] - mx) * (y[i] - my);
  return xy / std::sqrt(xx * yy);
}

}  // namespace

TEST_CASE("slow: hest-bench: a model for each fold, and Pearson of the written predictions in HEST's files") {
  const Task task;
  const Ran ran = run_stflow(task.words("run", {"--json"}));
  REQUIRE_MESSAGE(ran.code == 0, ran.err);
  const std::string run = task.tiny.path("run"), results = run + "/TASK/encoder";
  const Json all = Json::parse(read_file(results + "/results_kfold.json")), told = Json::parse(ran.out);
  double mean = 0;
  for (size_t fold = 0; fold < 2; fold++) {
    CAPTURE(fold);
    const std::string slide = fold == 0 ? "C" : "A", own = fmt::format("{}/fold_{}", run, fold);
    const Rows rows = read_csv(own + "/predictions/" + slide + ".csv");
    REQUIRE(rows.size() == kSpots);
    CHECK(std::filesystem::exists(own + "/model.safetensors"));
    const Json one = Json::parse(read_file(fmt::format("{}/split{}/results.json", results, fold)));
    const Json summary = Json::parse(read_file(fmt::format("{}/split{}/summary.json", results, fold)));
    CHECK(summary["n_train"] == 2 * kSpots);
    CHECK(summary["n_test"] == kSpots);
    double of_fold = 0;
    for (size_t g = 0; g < kPanel.size(); g++) {
      const double expected = correlation(rows, slide, g);
      of_fold += expected / 3;
      CHECK(one["pearson_corrs"][g]["name"] == kPanel[g]);
      CHECK(one["pearson_corrs"][g]["pearson_corr"].get<double>() == doctest::Approx(expected).epsilon(1e-5));
      for (const Json& gene : all["pearson_corrs"])
        if (gene["name"] == kPanel[g]) CHECK(gene["pearson_corrs"][fold].get<double>() == doctest::Approx(expected).epsilon(1e-5));
    }
    CHECK(one["pearson_mean"].get<double>() == doctest::Approx(of_fold).epsilon(1e-5));
    CHECK(all["mean_per_split"][fold].get<double>() == doctest::Approx(of_fold).epsilon(1e-5));
    CHECK(told["folds"][fold]["pearson_mean"] == one["pearson_mean"]);
    mean += of_fold / 2;
  }
  CHECK(all["pearson_mean"].get<double>() == doctest::Approx(mean).epsilon(1e-5));
  CHECK(told["pearson_mean"] == all["pearson_mean"]);
  CHECK(mean > 0.3);  // genes follow the colour
  CHECK(read_file(run + "/dataset_results.csv").find("TASK") != std::string::npos);
  CHECK(Json::parse(read_file(run + "/dataset_results.json"))["results"][0]["dataset_name"] == "TASK");

  // Resumed, what is finished stays and what is not is done: the same files.
  const std::string before = read_file(results + "/results_kfold.json"), model = read_file(run + "/fold_1/model.safetensors");
  const auto written = std::filesystem::last_write_time(run + "/fold_0/model.safetensors");
  std::filesystem::remove_all(run + "/fold_1");
  std::filesystem::remove_all(run + "/TASK");
  const Ran again = run_stflow(task.words("run", {"--resume"}));
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(std::filesystem::last_write_time(run + "/fold_0/model.safetensors") == written);
  CHECK(read_file(run + "/fold_1/model.safetensors") == model);
  CHECK(read_file(results + "/results_kfold.json") == before);
  CHECK(run_stflow(task.words("run")).code == int(Exit::create));

  // Two processes give the files of one, and go on with what one has left.
  for (const bool fresh : {true, false}) {
    Words words = task.words(fresh ? "ranks" : "run", {fresh ? "--json" : "--resume"});
    if (!fresh) std::filesystem::remove_all(run + "/fold_1"), std::filesystem::remove_all(run + "/TASK");
    const Words launch{"launch", "--nproc-per-node", "2", "--"};
    words.insert(words.begin(), launch.begin(), launch.end());
    const Ran both = run_stflow(words);
    REQUIRE_MESSAGE(both.code == 0, both.err);
    const std::string there = fresh ? task.tiny.path("ranks") : run;
    CHECK(read_file(there + "/fold_1/model.safetensors") == model);
    CHECK(read_file(there + "/TASK/encoder/results_kfold.json") == before);
    if (fresh) CHECK(Json::parse(both.out)["pearson_mean"] == told["pearson_mean"]);
  }
}

TEST_CASE("bad input: HEST-bench tasks and flags that contradict the protocol") {
  const Task task;
  const auto refused = [&](Exit code, const std::vector<std::string>& more, const std::string& line) {
    const Ran ran = run_stflow(task.words("bad", more));
    CHECK(ran.code == int(code));
    CHECK_MESSAGE(ran.err.find(line) != std::string::npos, ran.err);
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
    CHECK_FALSE(std::filesystem::exists(task.tiny.path("bad")));
  };
  refused(Exit::usage, {"--genes", "5"}, "--genes: given with --protocol hest-bench, expected none: the task has genes and folds");
  refused(Exit::usage, {"--test", "A"}, "--test: given with --protocol hest-bench, expected none: the task has genes and folds");
  refused(Exit::missing, {"--resume"}, "bad: holds no run of a task's folds, expected one to resume");
  static_cast<void>(task.tiny.folder.file("TASK/var_50genes.json", R"({"genes": ["G4", "G9"]})"));
  refused(Exit::data, {}, "G9");
  static_cast<void>(task.tiny.folder.file("TASK/var_50genes.json", R"({"genes": ["G4", "G0", "G3"]})"));
  static_cast<void>(task.tiny.folder.file("TASK/splits/test_1.csv", "sample_id,patches_path,expr_path\nA,patches/B.h5,adata/A.h5ad\n"));
  refused(Exit::data, {}, "expected the same files in each fold");
  static_cast<void>(task.tiny.folder.file("TASK/splits/train_0.csv", "sample_id,patches_path,expr_path\nA,patches/A.h5,adata/B.h5ad\n"));
  static_cast<void>(task.tiny.folder.file("TASK/splits/train_1.csv", rows_of("B")));
  static_cast<void>(task.tiny.folder.file("TASK/splits/test_1.csv", rows_of("C")));
  refused(Exit::data, {}, "have 0 names in common, expected at least half");
}
