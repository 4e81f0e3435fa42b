// stflow eval: predictions of any form beside counts of any form.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/prediction/prediction.h"
#include "engine/file.h"
#include "model/evaluation.h"
#include "model/folds.h"
#include "model/scaling.h"
#include "tests/check.h"
#include "tests/data/tiny.h"
#include "tests/disk.h"
#include "tests/files.h"
#include "tests/run.h"

using namespace stflow;
using nlohmann::json;
using test::run_stflow;

namespace {

constexpr size_t kSpots = 40, kGenes = 4;

/// A sample's prediction and counts; the counts' table has the spots and genes in another order, and one more of each.
struct Sample {
  Section section;
  PredictionFile file;
  std::vector<float> counts;  // (N, G), as the prediction's

  Sample(const std::string& name, uint64_t seed) {
    section.source.sample = name;
    const std::vector<double> noise = test::normal(2 * kSpots * kGenes, seed);
    file.section = &section;
    file.genes = {"A", "B", "C", "D"};
    for (size_t n = 0; n < kSpots; n++) {
      section.spots.push_back(std::to_string(n) + "x3");
      section.xy.push_back(double(10 * n)), section.xy.push_back(30);
    }
    for (size_t i = 0; i < kSpots * kGenes; i++) {
      const float count = i % kGenes == 3 ? 2.0f : float(std::lround(std::exp(1 + noise[i])));  // D is constant
      counts.push_back(count);
      file.mean.push_back(std::log1p(count) + 0.5f * float(noise[i + kSpots * kGenes]));
    }
  }
  Sample(const Sample&) = delete;

  [[nodiscard]] std::string table() const {
    std::string text = "\tD\tMORE\tB\tA\tC";
    for (size_t n = kSpots; n-- > 0;) {
      text += "\n" + section.spots[n];
      for (const char gene : std::string("D.BAC")) text += "\t" + (gene == '.' ? "7" : std::to_string(int(at(n, size_t(gene - 'A')))));
    }
    return text + "\n99x99\t1\t1\t1\t1\t1\n";
  }
  [[nodiscard]] float at(size_t spot, size_t gene) const { return counts[spot * kGenes + gene]; }
};

json eval_json(std::vector<std::string> words) {
  words.insert(words.begin(), "eval");
  words.emplace_back("--json");
  const test::Ran r = run_stflow(words);
  CHECK_MESSAGE(r.code == 0, r.err);
  return json::parse(r.out);
}

/// A line of the command's stderr that says why, and the exit code.
void refused(int code, const std::vector<std::string>& words, const std::string& line) {
  std::vector<std::string> all{"eval"};
  all.insert(all.end(), words.begin(), words.end());
  const test::Ran r = run_stflow(all);
  CHECK(r.code == code);
  CHECK(r.out.empty());
  CHECK_MESSAGE(r.err.find("stflow: error: " + line + "\n") != std::string::npos, r.err);
}

}  // namespace

TEST_CASE("eval: one prediction, joined by spot and gene, in every form of file") {
  const test::TempFolder folder;
  Sample s("S", 1);
  const std::string truth = folder.file("counts.tsv", s.table());
  const std::vector<float> labels = log1p(s.counts);
  const Evaluation want = evaluate(matrix(s.file.mean, kGenes), matrix(labels, kGenes), {int64_t(kSpots)});
  for (const std::string name : {"p.csv", "p.h5ad"}) {
    write_prediction(folder.path(name), s.file);
    const json j = eval_json({folder.path(name), truth});
    CHECK(j["spots"] == kSpots);
    CHECK(j["genes"] == kGenes);
    CHECK(j["pooled"]["pearson"].get<double>() == doctest::Approx(want.pooled.mean_pearson).epsilon(1e-9));
    CHECK(j["pooled"]["spearman"].get<double>() == doctest::Approx(want.pooled.mean_spearman).epsilon(1e-9));
    CHECK(j["pooled"]["r2"].get<double>() == doctest::Approx(want.pooled.mean_r2).epsilon(1e-9));
    CHECK(j["pooled"]["undefined"] == 1);
    CHECK(j["bootstrap"]["pearson"][0].get<double>() == doctest::Approx(want.mean_pearson.low).epsilon(1e-9));
    CHECK(j["per_gene"][3]["name"] == "D");
    CHECK(j["per_gene"][3]["pearson"].is_null());
    CHECK(j["per_gene"][1]["interval"][1].get<double>() == doctest::Approx(want.pearson[1].high).epsilon(1e-9));
    CHECK(j["slides"]["p"]["joined"]["spots"] == json{{"only_prediction", 0}, {"only_truth", 1}, {"both", kSpots}});
    CHECK(j["slides"]["p"]["joined"]["genes"]["both"] == kGenes);
    CHECK(j["calibration"].empty());
  }
  // The truth as a table of predictions' layout, as counts and as their logarithm.
  Sample t("T", 1);
  t.file.mean = t.counts;
  write_prediction(folder.path("counts.csv"), t.file);
  t.file.mean = labels;
  write_prediction(folder.path("labels.csv"), t.file);
  for (const auto& words : std::vector<std::vector<std::string>>{
           {folder.path("counts.csv")}, {folder.path("labels.csv"), "--x-is=log1p"}, {folder.path("counts.h5ad")}}) {
    if (words[0].ends_with(".h5ad")) t.file.mean = t.counts, write_prediction(words[0], t.file);
    std::vector<std::string> all{folder.path("p.csv")};
    all.insert(all.end(), words.begin(), words.end());
    CHECK(eval_json(all)["pooled"]["pearson"].get<double>() == doctest::Approx(want.pooled.mean_pearson).epsilon(1e-6));
  }
  const test::Ran text = run_stflow({"eval", folder.path("p.csv"), truth, "--bootstrap", "0"});
  CHECK(text.out.starts_with("40 spots, 4 genes"));
  CHECK(text.out.find(fmt::format("{:.4f}", want.pooled.mean_pearson)) != std::string::npos);
  CHECK(text.out.find("left out of the means because they are constant and have no correlation: 1 genes\n") != std::string::npos);
  CHECK(text.err.find("p: 0 spots only in the prediction, 1 only in the truth, 40 in both") != std::string::npos);
}

TEST_CASE("eval: calibration comes from the best layers that there are") {
  const test::TempFolder folder;
  Sample s("S", 2);
  const std::string truth = folder.file("counts.tsv", s.table());
  const auto layer = [&](float shift) {
    std::vector<float> v = s.file.mean;
    for (float& x : v) x += shift;
    return v;
  };
  s.file.layers["std"] = std::vector<float>(kSpots * kGenes, 0.5f);
  write_prediction(folder.path("a.h5ad"), s.file);
  json c = eval_json({folder.path("a.h5ad"), truth})["calibration"];
  CHECK(c["crps"]["from"] == "normal");
  CHECK(c["coverage"][2]["share"].get<double>() == doctest::Approx(0.9).epsilon(0.1));
  CHECK(c["pit"]["bins"].size() == 20);
  s.file.layers["q05"] = layer(-9), s.file.layers["q95"] = layer(9);
  write_prediction(folder.path("b.h5ad"), s.file);
  c = eval_json({folder.path("b.h5ad"), truth})["calibration"];
  CHECK(c["coverage"][2] == json{{"level", 0.9}, {"share", 1.0}, {"from", "quantiles"}});
  CHECK(c["coverage"][0]["from"] == "normal");
  s.file.layers["sample_0"] = layer(-1), s.file.layers["sample_1"] = layer(0), s.file.layers["sample_2"] = layer(1);
  s.file.layers["other"] = layer(5);
  write_prediction(folder.path("c.h5ad"), s.file);
  c = eval_json({folder.path("c.h5ad"), truth})["calibration"];
  CHECK(c["coverage"][2]["from"] == "draws");
  CHECK(c["pit"]["from"] == "draws");
}

TEST_CASE("eval: a folder of predictions beside a data set, joined by sample") {
  const test::TempFolder folder;
  std::filesystem::create_directories(folder.path("p"));
  for (const std::string name : {"A", "B", "C"}) test::tiny_section(folder, name);  // genes A B C: 1 2 0, 0 3 4, 5 0 6
  const std::vector<double> a{0.7, 1.1, 0.1, 0.2, 1.3, 1.6, 1.8, 0.3, 1.9}, b{0, 1, 0, 0.5, 1, 1, 1, 0.2, 2};
  folder.file("p/A.csv", "spot,x,y,A,B,C\n1x1,1,2,0.7,1.1,0.1\n2x1,1,2,0.2,1.3,1.6\n1x2,1,2,1.8,0.3,1.9\n");
  folder.file("p/B.csv", "spot,x,y,C,X,B,A\n1x2,1,2,2,9,0.2,1\n2x1,1,2,1,9,1,0.5\n1x1,1,2,0,9,1,0\n");
  std::vector<float> predicted(a.begin(), a.end()), counts{1, 2, 0, 0, 3, 4, 5, 0, 6};
  for (const size_t row : {6, 3, 0})
    predicted.insert(predicted.end(), b.begin() + std::ptrdiff_t(row), b.begin() + std::ptrdiff_t(row) + 3);
  std::vector<float> labels = counts;
  for (const size_t row : {6, 3, 0})
    labels.insert(labels.end(), counts.begin() + std::ptrdiff_t(row), counts.begin() + std::ptrdiff_t(row) + 3);
  labels = log1p(labels);
  const Evaluation want = evaluate(matrix(predicted, 3), matrix(labels, 3), {3, 6});
  const json j = eval_json({folder.path("p"), folder.path(), "--spot-pitch", "5"});
  CHECK(j["spots"] == 6);
  CHECK(j["genes"] == 3);
  CHECK(j["pooled"]["pearson"].get<double>() == doctest::Approx(want.pooled.mean_pearson).epsilon(1e-9));
  CHECK(j["slides"]["B"]["pearson"].get<double>() == doctest::Approx(want.slides[1].mean_pearson).epsilon(1e-9));
  CHECK(j["slides"]["B"]["joined"]["genes"] == json{{"only_prediction", 1}, {"only_truth", 0}, {"both", 3}});
  const test::Ran text = run_stflow({"eval", folder.path("p"), folder.path(), "--spot-pitch", "5"});
  CHECK(text.err.find("0 samples only in the prediction, 1 only in the truth, 2 in both\n") != std::string::npos);
  CHECK(text.out.find("\nB ") != std::string::npos);
}

TEST_CASE("eval: the files that are written") {
  const test::TempFolder folder;
  Sample b("B", 4);
  std::filesystem::create_directories(folder.path("p"));
  write_prediction(folder.path("p/B.csv"), b.file);
  write_atomic(folder.path("B.tsv"), b.table());
  const std::string out = folder.path("out");
  const json j = eval_json({folder.path("p/B.csv"), folder.path("B.tsv"), "--out", out, "--dataset", "MINE", "--encoder", "mean"});
  CHECK(test::files_of(out).size() == 6);
  const json results = json::parse(read_text(out + "/results.json")), summary = json::parse(read_text(out + "/summary.json")),
             kfold = json::parse(read_text(out + "/results_kfold.json")), sets = json::parse(read_text(out + "/dataset_results.json"));
  const double mean = j["pooled"]["pearson"].get<double>();
  CHECK(results["pearson_mean"].get<double>() == mean);
  CHECK(results["pearson_corrs"][0] == json{{"name", "A"}, {"pearson_corr", j["per_gene"][0]["pearson"]}});
  CHECK(results["pearson_corrs"][3]["pearson_corr"].is_null());
  CHECK(results["l2_errors"].size() == kGenes);
  CHECK(summary["n_test"] == kSpots);
  CHECK(kfold["mean_per_split"] == json{mean});
  CHECK(kfold["pearson_corrs"][3]["name"] == "D");  // without a correlation: last
  CHECK(sets["results"][0]["dataset_name"] == "MINE");
  CHECK(sets["average"]["mean"].get<double>() == mean);
  CHECK(read_text(out + "/dataset_results.csv").starts_with(",dataset,mean_mean,mean_std\n0,MINE,"));
  const std::string table = read_text(out + "/per_gene.csv");
  CHECK(table.starts_with("gene,pearson,pearson_low,pearson_high,spearman,mse,mae,r2,pearson B\nA,"));
  CHECK(table.find("\nD,,,,,") != std::string::npos);
  refused(73, {folder.path("p/B.csv"), folder.path("B.tsv"), "--out", out},
          out + "/results.json: exists, expected a new folder; pass --overwrite");
  CHECK(run_stflow({"eval", folder.path("p/B.csv"), folder.path("B.tsv"), "--out", out, "--overwrite"}).code == 0);
}

TEST_CASE("bad input: predictions and truths that do not belong together") {
  const test::TempFolder folder;
  Sample s("S", 5);
  const std::string truth = folder.file("counts.tsv", s.table()), p = folder.path("p.csv");
  write_prediction(p, s.file);
  refused(64, {p + ".txt", truth}, p + ".txt: a prediction of unknown format, expected a name that ends with .h5ad or .csv");
  refused(66, {folder.path("none.csv"), truth}, folder.path("none.csv") + ": No such file or directory, expected a readable file");
  refused(66, {folder.path(), truth + ".gz"}, truth + ".gz: No such file or directory, expected a readable file");
  std::filesystem::create_directories(folder.path("empty"));
  refused(66, {folder.path("empty"), truth}, folder.path("empty") + ": no .h5ad or .csv file, expected predictions");
  const std::string other = folder.file("other.tsv", "\tX\tY\n1x3\t1\t2\n");
  refused(65, {p, other}, p + ": 4 genes only in the prediction, 2 only in the truth, 0 in both, expected at least half to match");
  const std::string spots = folder.file("spots.tsv", "\tA\tB\n1x3\t1\t2\n7x7\t1\t1\n8x8\t2\t2\n");
  refused(65, {p, spots}, p + ": 39 spots only in the prediction, 2 only in the truth, 1 in both, expected at least half to match");

  const std::string twice = folder.file("twice.csv", "spot,x,y,A\na,1,2,3\na,1,2,4\n");
  refused(65, {twice, truth}, twice + ": spot 'a' a second time, expected each once");
  const std::string genes = folder.file("genes.csv", "spot,x,y,A,A\na,1,2,3,4\n");
  refused(65, {genes, truth}, genes + ": gene 'A' a second time, expected each once");
  const std::string nan = folder.file("nan.csv", "spot,x,y,A\na,1,2,nan\n");
  refused(65, {nan, truth}, nan + ": the table: nan for spot 'a' and gene 'A', expected a finite number");
  const std::string head = folder.file("head.csv", "name,x,y,A\na,1,2,3\n");
  refused(65, {head, truth}, head + ": line 1: name, x, y, A, expected spot,x,y and genes");
  const std::string none = folder.file("none.csv", "spot,x,y,A\n");
  refused(65, {none, truth}, none + ": 0 spots and 1 genes, expected at least one of each");
  const std::string fraction = folder.file("fraction.csv", "spot,x,y,A\n1x3,1,2,0.5\n");
  refused(65, {p, fraction}, fraction + ": found 0.5, expected counts, whole numbers from 0; --x-is log1p takes others");
  const std::string negative = folder.file("negative.csv", "spot,x,y,A\n1x3,1,2,-1\n");
  refused(65, {p, negative, "--x-is=log1p"}, negative + ": found -1, expected log(1 + counts), from 0");

  std::filesystem::create_directories(folder.path("both"));
  write_prediction(folder.path("both/S.csv"), s.file);
  write_prediction(folder.path("both/S.h5ad"), s.file);
  refused(65, {folder.path("both"), truth}, folder.path("both") + ": S.csv and S.h5ad, expected one prediction of a sample");
  std::filesystem::create_directories(folder.path("names"));
  write_prediction(folder.path("names/S.csv"), s.file);
  write_prediction(folder.path("names/T.csv"), s.file);
  refused(65, {folder.path("names"), truth},
          folder.path("names") + ": 2 samples only in the prediction, 1 only in the truth, 0 in both, expected at least half to match");
}
