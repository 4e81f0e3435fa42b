#include "tools/hest_results.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

using SortedJson = nlohmann::json;  // HEST writes keys in alphabetical order

void write_json(const std::string& path, const SortedJson& json) {
  write_atomic(path, json.dump(4, ' ', false, SortedJson::error_handler_t::replace) + "\n");
}

/// Over the values that are not NaN, as numpy.std: the population's.
double deviation(const std::vector<double>& values) {
  const double mean = mean_of_defined(values);
  std::vector<double> squares;
  for (const double v : values) squares.push_back((v - mean) * (v - mean));
  return std::sqrt(mean_of_defined(squares));
}

double quartile(std::vector<double> values, int which) {
  std::erase_if(values, [](double v) { return std::isnan(v); });
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  return quantile_of_sorted(values.data(), int64_t(values.size()), which / 4.0);
}

SortedJson json_of(const HestFold& fold) {
  const Scores& s = fold.scores;
  SortedJson json{{"l2_errors", s.mse}, {"r2_scores", s.r2}, {"pearson_mean", s.mean_pearson}, {"pearson_std", deviation(s.pearson)}};
  json["pearson_corrs"] = SortedJson::array();
  for (size_t g = 0; g < fold.genes.size(); g++) json["pearson_corrs"].push_back({{"name", fold.genes[g]}, {"pearson_corr", s.pearson[g]}});
  for (const int q : {1, 2, 3}) {
    json["l2_error_q" + std::to_string(q)] = quartile(s.mse, q);
    json["r2_score_q" + std::to_string(q)] = quartile(s.r2, q);
  }
  return json;
}

/// Falling order, what has no correlation last.
bool better(double a, double b) { return !std::isnan(a) && (std::isnan(b) || a > b); }

std::string cell(double x) { return std::isnan(x) ? "" : shortest(x); }  // as pandas does

}  // namespace

void write_hest_fold(const std::string& folder, const HestFold& fold) {
  make_output_folder(folder);
  SortedJson json = json_of(fold);
  write_json(folder + "/results.json", json);
  json["n_train"] = fold.train_spots, json["n_test"] = fold.test_spots;
  write_json(folder + "/summary.json", json);
}

HestResult write_hest_folds(const std::string& folder, const std::string& dataset, const std::string& encoder,
                            const std::vector<HestFold>& folds) {
  make_output_folder(folder);
  struct Gene {
    std::string name;
    std::vector<double> pearson;
    double mean = 0;
  };
  std::vector<Gene> genes;
  std::map<std::string, size_t> place;
  std::vector<double> means;
  for (const HestFold& fold : folds) {
    for (size_t g = 0; g < fold.genes.size(); g++) {
      const auto [at, fresh] = place.emplace(fold.genes[g], genes.size());
      if (fresh) genes.push_back({fold.genes[g], {}});
      genes[at->second].pearson.push_back(fold.scores.pearson[g]);
    }
    means.push_back(fold.scores.mean_pearson);
  }
  for (Gene& g : genes) g.mean = mean_of_defined(g.pearson);
  std::stable_sort(genes.begin(), genes.end(), [](const Gene& a, const Gene& b) { return better(a.mean, b.mean); });
  SortedJson rows = SortedJson::array();
  for (const Gene& g : genes)
    rows.push_back({{"name", g.name}, {"pearson_corrs", g.pearson}, {"mean", g.mean}, {"std", deviation(g.pearson)}});
  HestResult result{dataset, encoder, mean_of_defined(means), deviation(means)};
  write_json(
      folder + "/results_kfold.json",
      {{"pearson_corrs", rows}, {"pearson_mean", result.pearson_mean}, {"pearson_std", result.pearson_std}, {"mean_per_split", means}});
  return result;
}

void write_hest_datasets(const std::string& folder, const std::vector<HestResult>& results) {
  make_output_folder(folder);
  std::vector<std::string> datasets, encoders;
  const auto add = [](std::vector<std::string>& names, const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const HestResult& r : results) add(datasets, r.dataset), add(encoders, r.encoder);

  std::string csv = ",dataset";
  for (const std::string& e : encoders) csv += fmt::format(",{0}_mean,{0}_std", e);
  SortedJson json{{"results", SortedJson::array()}, {"average", SortedJson::object()}};
  std::map<std::string, std::vector<double>> of_encoder;
  for (size_t d = 0; d < datasets.size(); d++) {
    std::vector<HestResult> row;
    csv += "\n" + std::to_string(d) + "," + datasets[d];
    for (const std::string& e : encoders) {
      const auto found =
          std::find_if(results.begin(), results.end(), [&](const HestResult& r) { return r.dataset == datasets[d] && r.encoder == e; });
      csv += found == results.end() ? ",," : "," + cell(found->pearson_mean) + "," + cell(found->pearson_std);
      if (found == results.end()) continue;
      row.push_back(*found);
      of_encoder[e].push_back(found->pearson_mean);
    }
    std::stable_sort(row.begin(), row.end(),
                     [](const HestResult& a, const HestResult& b) { return better(a.pearson_mean, b.pearson_mean); });
    SortedJson encoder_rows = SortedJson::array();
    for (const HestResult& r : row)
      encoder_rows.push_back({{"encoder_name", r.encoder}, {"pearson_mean", r.pearson_mean}, {"pearson_std", r.pearson_std}});
    json["results"].push_back({{"dataset_name", datasets[d]}, {"results", encoder_rows}});
  }
  for (const auto& [encoder, means] : of_encoder) json["average"][encoder] = mean_of_defined(means);
  write_atomic(folder + "/dataset_results.csv", csv + "\n");
  write_json(folder + "/dataset_results.json", json);
}

}  // namespace stflow
