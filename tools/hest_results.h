// Results in the files of HEST's benchmark (hest/bench/benchmark.py and trainer.py), with its keys, so that what reads those reads ours.
// One thing differs: a gene without a correlation is null and left out of means, where HEST writes NaN for it and for the mean.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "model/metrics.h"
#include "tools/json_out.h"

namespace stflow {

/// The scores of one fold's test spots, pooled.
struct HestFold {
  std::vector<std::string> genes;
  Scores scores;
  int64_t train_spots = 0, test_spots = 0;
};

/// Writes `folder`/results.json (pearson_corrs, pearson_mean, pearson_std over genes, l2_errors, r2_scores and their quartiles) and
/// summary.json (the same with n_train and n_test). Makes the folder. Each file is atomic.
void write_hest_fold(const std::string& folder, const HestFold& fold);

/// What a dataset's folds give with one encoder.
struct HestResult {
  std::string dataset, encoder;
  double pearson_mean = 0, pearson_std = 0;  // mean and standard deviation over folds of their mean over genes
};

/// Writes `folder`/results_kfold.json: per gene the folds' correlations with mean and standard deviation, best genes first; mean_per_split,
/// pearson_mean, pearson_std.
HestResult write_hest_folds(const std::string& folder, const std::string& dataset, const std::string& encoder,
                            const std::vector<HestFold>& folds);

/// Writes `folder`/dataset_results.json and dataset_results.csv: of each dataset each encoder's mean and standard deviation, and the mean
/// over datasets of each encoder. Datasets in the order of their first result.
void write_hest_datasets(const std::string& folder, const std::vector<HestResult>& results);

}  // namespace stflow
