// stflow eval: how good predictions are, beside what was measured.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "data/csv.h"
#include "data/prediction/read.h"
#include "engine/file.h"
#include "engine/text.h"
#include "model/calibration.h"
#include "model/evaluation.h"
#include "model/folds.h"
#include "tools/commands.h"
#include "tools/data_flags.h"
#include "tools/eval_join.h"
#include "tools/hest_results.h"
#include "tools/json_out.h"

namespace stflow {
namespace {

struct EvalFlags {
  std::string prediction, truth, out, dataset, encoder = "stflow";
  DataFlags data;
  BootstrapOptions bootstrap;
  bool overwrite = false;
};

/// Everything that is told, in any form.
struct Result {
  Joined data;
  Evaluation scores;
  Calibration calibration;
};

Calibration calibration_of(const Joined& j) {
  const auto g = int64_t(j.genes.size());
  Uncertainty u;
  u.mean = matrix(j.prediction, g);
  for (const auto& [name, values] : j.layers) {
    if (name == "std") u.sd = matrix(values, g);
    else if (name.starts_with("sample_")) u.draws.push_back(matrix(values, g));
    else u.quantiles[quantile_of_layer(name)] = matrix(values, g);
  }
  return calibrate(u, matrix(j.truth, g));
}

Interval interval_of(const Evaluation& e, size_t gene) {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  return e.pearson.empty() ? Interval{none, none} : e.pearson[gene];
}

std::string number(double x) { return std::isnan(x) ? "-" : fmt::format("{:.4f}", x); }

std::vector<std::string> row_of(const std::string& name, const Scores& s, const std::string& interval) {
  return {name, number(s.mean_pearson), interval, number(s.mean_spearman), number(s.mean_mse), number(s.mean_mae), number(s.mean_r2)};
}

std::string genes_text(const Result& r) {
  const Scores& s = r.scores.pooled;
  std::vector<size_t> order;
  for (size_t g = 0; g < s.pearson.size(); g++)
    if (!std::isnan(s.pearson[g])) order.push_back(g);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return s.pearson[a] > s.pearson[b]; });
  const auto some = [&](auto begin, auto end) {
    std::vector<std::string> texts;
    for (auto i = begin; i != end; ++i) texts.push_back(fmt::format("{} {:.3f}", r.data.genes[*i], s.pearson[*i]));
    return fmt::format("{}\n", fmt::join(texts, ", "));
  };
  const auto many = std::ptrdiff_t(std::min<size_t>(5, order.size()));
  std::string text;
  if (many > 0)
    text = "best genes:  " + some(order.begin(), order.begin() + many) + "worst genes: " + some(order.rbegin(), order.rbegin() + many);
  if (s.undefined > 0)
    text += fmt::format("left out of the means because they are constant and have no correlation: {} genes\n", s.undefined);
  return text;
}

std::string calibration_text(const Calibration& c) {
  std::string text;
  for (const auto& i : c.coverage)
    if (!i.from.empty())
      text += fmt::format("{}{:.0f} % intervals hold {:.1f} % ({})", text.empty() ? "calibration: " : ", ", 100 * i.level, 100 * i.share,
                          i.from);
  if (!c.crps_from.empty()) text += fmt::format("; CRPS {:.4f} ({})", c.crps, c.crps_from);
  return text.empty() ? text : text + "\n";
}

std::string text_of(const Result& r, double level) {
  const Evaluation& e = r.scores;
  terminal::Table table({fmt::format("{} spots, {} genes", r.data.ends.back(), r.data.genes.size()), "Pearson",
                         fmt::format("{:g} % interval", 100 * level), "Spearman", "MSE", "MAE", "R2"});
  table.row(row_of("all spots", e.pooled, e.pearson.empty() ? "-" : number(e.mean_pearson.low) + " to " + number(e.mean_pearson.high)));
  if (e.slides.size() > 1)
    for (size_t s = 0; s < e.slides.size(); s++) table.row(row_of(r.data.samples[s], e.slides[s], ""));
  return table.text() + genes_text(r) + calibration_text(r.calibration);
}

JsonOut json_of(const Scores& s) {
  return {{"pearson", s.mean_pearson}, {"spearman", s.mean_spearman}, {"mse", s.mean_mse}, {"mae", s.mean_mae},
          {"r2", s.mean_r2},           {"undefined", s.undefined}};
}

JsonOut json_of(const Overlap& o) {
  return {{"only_prediction", o.prediction - o.both}, {"only_truth", o.truth - o.both}, {"both", o.both}};
}

JsonOut json_of(const Result& r, const BootstrapOptions& b) {
  const Evaluation& e = r.scores;
  JsonOut json{{"spots", r.data.ends.back()}, {"genes", r.data.genes.size()}, {"pooled", json_of(e.pooled)}};
  if (!e.pearson.empty())
    json["bootstrap"] = {
        {"replicates", b.replicates}, {"level", b.level}, {"seed", b.seed}, {"pearson", {e.mean_pearson.low, e.mean_pearson.high}}};
  json["slides"] = JsonOut::object();
  for (size_t s = 0; s < e.slides.size(); s++) {
    json["slides"][r.data.samples[s]] = json_of(e.slides[s]);
    json["slides"][r.data.samples[s]]["joined"] = {{"spots", json_of(r.data.spots_in[s])}, {"genes", json_of(r.data.genes_in[s])}};
  }
  json["per_gene"] = JsonOut::array();
  for (size_t g = 0; g < r.data.genes.size(); g++) {
    JsonOut gene{{"name", r.data.genes[g]}, {"pearson", e.pooled.pearson[g]}, {"spearman", e.pooled.spearman[g]},
                 {"mse", e.pooled.mse[g]},  {"mae", e.pooled.mae[g]},         {"r2", e.pooled.r2[g]}};
    if (!e.pearson.empty()) gene["interval"] = {e.pearson[g].low, e.pearson[g].high};
    json["per_gene"].push_back(gene);
  }
  const Calibration& c = r.calibration;
  JsonOut calibration = JsonOut::object();
  for (const auto& i : c.coverage)
    if (!i.from.empty()) calibration["coverage"].push_back({{"level", i.level}, {"share", i.share}, {"from", i.from}});
  if (!c.pit.empty()) calibration["pit"] = {{"bins", c.pit}, {"from", c.pit_from}};
  if (!c.crps_from.empty()) calibration["crps"] = {{"mean", c.crps}, {"from", c.crps_from}};
  json["calibration"] = calibration;
  return json;
}

std::string per_gene_csv(const Result& r) {
  const Evaluation& e = r.scores;
  const auto cell = [](double x) { return "," + (std::isnan(x) ? "" : shortest(x)); };
  std::string text = "gene,pearson,pearson_low,pearson_high,spearman,mse,mae,r2";
  for (const std::string& s : r.data.samples) text += "," + csv_cell("pearson " + s);
  for (size_t g = 0; g < r.data.genes.size(); g++) {
    const Interval i = interval_of(e, g);
    text += "\n" + csv_cell(r.data.genes[g]);
    for (const double x : {e.pooled.pearson[g], i.low, i.high, e.pooled.spearman[g], e.pooled.mse[g], e.pooled.mae[g], e.pooled.r2[g]})
      text += cell(x);
    for (const Scores& s : e.slides) text += cell(s.pearson[g]);
  }
  return text + "\n";
}

void write_files(const Result& r, const EvalFlags& f) {
  const HestFold fold{r.data.genes, r.scores.pooled, 0, r.data.ends.back()};
  write_hest_fold(f.out, fold);
  write_hest_datasets(f.out, {write_hest_folds(f.out, f.dataset, f.encoder, {fold})});
  write_atomic(f.out + "/per_gene.csv", per_gene_csv(r));
}

}  // namespace

int eval(const Args& args) {
  EvalFlags f;
  Options o("eval", "Compares predictions with what was measured: correlation, errors, intervals, calibration.",
            "stflow eval prediction.h5ad counts.h5ad --out scores");
  o.argument("prediction", &f.prediction, "what stflow predict wrote, .h5ad or .csv, or a folder with one per sample");
  o.argument("truth", &f.truth, "counts: .h5ad, .tsv[.gz], a table as predictions are, a folder of sections or a manifest");
  o.section("Scores");
  o.flag("bootstrap", &f.bootstrap.replicates, "samples of spots that give the intervals; 0: none").range(0, 1e6);
  o.flag("level", &f.bootstrap.level, "share of them within an interval").range(0.01, 0.999);
  o.flag("seed", &f.bootstrap.seed, "which samples of spots");
  declare_reading(o, f.data);
  o.section("Output");
  o.flag("out", &f.out, "folder for per_gene.csv and HEST's results.json, summary.json, results_kfold.json, dataset_results.*")
      .placeholder("FOLDER");
  o.flag("dataset", &f.dataset, "name of the data in HEST's files; without it the truth's");
  o.flag("encoder", &f.encoder, "name of the method in HEST's files");
  o.flag("overwrite", &f.overwrite, "replace earlier results");
  if (!o.parse(args)) return 0;
  if (!f.out.empty() && std::filesystem::exists(f.out + "/results.json") && !f.overwrite)
    fail(Exit::create, "{}/results.json: exists, expected a new folder; pass --overwrite", f.out);
  if (!f.out.empty()) make_output_folder(f.out);
  if (f.dataset.empty()) {
    const std::filesystem::path truth = std::filesystem::path(f.truth + "/").parent_path();
    f.dataset = truth.filename().string().substr(0, truth.filename().string().find('.'));
  }
  Result r;
  r.data = join(f.prediction, f.truth, f.data.reading());
  const auto g = int64_t(r.data.genes.size());
  r.scores = evaluate(matrix(r.data.prediction, g), matrix(r.data.truth, g), r.data.ends, f.bootstrap);
  r.calibration = calibration_of(r.data);
  if (!f.out.empty()) write_files(r, f);
  terminal::result(text_of(r, f.bootstrap.level));
  if (terminal::settings().json) print_json(json_of(r, f.bootstrap));
  return 0;
}

}  // namespace stflow
