// Results in HEST's files: what its own code would write of the same folds.
#include "tools/hest_results.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/file.h"
#include "tests/files.h"

using namespace stflow;
using nlohmann::json;

namespace {

HestFold fold_of(const std::vector<std::string>& genes, const std::vector<double>& pearson, double mean) {
  HestFold f;
  f.genes = genes;
  f.scores.pearson = pearson, f.scores.mean_pearson = mean;
  f.scores.mse = {1, 2, 4}, f.scores.r2 = {0.5, 0.25, std::numeric_limits<double>::quiet_NaN()};
  f.train_spots = 30, f.test_spots = 10;
  return f;
}

}  // namespace

TEST_CASE("hest results: a fold, its merging, and the table of data sets") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const test::TempFolder folder;
  const HestFold first = fold_of({"A", "B", "C"}, {0.2, 0.6, none}, 0.4), second = fold_of({"A", "B", "C"}, {0.4, 0.9, none}, 0.65);
  write_hest_fold(folder.path("split0"), first);
  const std::string text = read_text(folder.path("split0/results.json"));
  CHECK(text.starts_with("{\n    \"l2_error_q1\": 1.5,\n"));
  const json results = json::parse(text), summary = json::parse(read_text(folder.path("split0/summary.json")));
  CHECK(results["pearson_corrs"][1] == json{{"name", "B"}, {"pearson_corr", 0.6}});
  CHECK(results["pearson_corrs"][2]["pearson_corr"].is_null());
  CHECK(results["pearson_mean"] == 0.4);
  CHECK(results["pearson_std"].get<double>() == doctest::Approx(0.2));  // of the population, as numpy.std
  CHECK(results["l2_errors"] == json{1, 2, 4});
  CHECK(results["l2_error_q2"] == 2);
  CHECK(results["l2_error_q3"] == 3);
  CHECK(results["r2_score_q1"] == 0.3125);
  CHECK(!results.contains("n_test"));
  CHECK(summary["n_train"] == 30);
  CHECK(summary["n_test"] == 10);

  const HestResult merged = write_hest_folds(folder.path(), "IDC", "uni", {first, second});
  CHECK(merged.pearson_mean == doctest::Approx(0.525));
  CHECK(merged.pearson_std == doctest::Approx(0.125));
  const json kfold = json::parse(read_text(folder.path("results_kfold.json")));
  CHECK(kfold["mean_per_split"] == json{0.4, 0.65});
  CHECK(kfold["pearson_corrs"][0]["name"] == "B");
  CHECK(kfold["pearson_corrs"][0]["pearson_corrs"] == json{0.6, 0.9});
  CHECK(kfold["pearson_corrs"][1]["mean"].get<double>() == doctest::Approx(0.3));
  CHECK(kfold["pearson_corrs"][1]["std"].get<double>() == doctest::Approx(0.1));
  CHECK(kfold["pearson_corrs"][2]["mean"].is_null());

  write_hest_datasets(folder.path(),
                      {{"IDC", "uni", 0.5, 0.125}, {"PRAD", "uni", 0.25, 0}, {"IDC", "virchow", 0.75, 0.5}, {"PRAD", "none", none, none}});
  CHECK(read_text(folder.path("dataset_results.csv")) ==
        ",dataset,uni_mean,uni_std,virchow_mean,virchow_std,none_mean,none_std\n0,IDC,0.5,0.125,0.75,0.5,,\n1,PRAD,0.25,0,,,,\n");
  const json sets = json::parse(read_text(folder.path("dataset_results.json")));
  CHECK(sets["results"][0]["dataset_name"] == "IDC");
  CHECK(sets["results"][0]["results"][0] == json{{"encoder_name", "virchow"}, {"pearson_mean", 0.75}, {"pearson_std", 0.5}});
  CHECK(sets["results"][1]["results"][1]["encoder_name"] == "none");
  CHECK(sets["average"]["uni"] == 0.375);
  CHECK(sets["average"]["none"].is_null());
}
