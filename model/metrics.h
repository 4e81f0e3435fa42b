// How well predicted expression agrees with measured expression, gene by gene.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace stflow {

/// Scores over n spots and G genes. A gene whose truth or prediction is constant has no correlation: NaN, left out of the
/// means and counted.
struct Scores {
  std::vector<double> pearson;                 // of each gene, NaN where undefined
  std::vector<double> spearman;                // the same on ranks (ties share their mean rank); empty unless asked for
  std::vector<double> mse, mae;                // mean squared and mean absolute error of each gene
  std::vector<double> r2;                      // 1 - squared error / variance of the truth, NaN where that is constant
  double mean_pearson = 0, mean_spearman = 0;  // over the genes that have one; NaN if none has
  double mean_mse = 0, mean_mae = 0, mean_r2 = 0;
  int64_t undefined = 0;  // genes without a correlation
};

/// prediction and truth (n, G), f32 or f64. Float64 inside, sums in the order of the spots.
Scores score(const Tensor& prediction, const Tensor& truth, bool with_spearman = false);

/// The mean of each gene's correlation over those of the results that have one; NaN where none has.
std::vector<double> mean_by_gene(const std::vector<Scores>& results);

/// The mean of those that are not NaN; NaN if all are.
double mean_of_defined(const std::vector<double>& values);

/// The q-quantile (0 to 1) of n >= 1 numbers in rising order, with linear interpolation between two of them.
double quantile_of_sorted(const double* sorted, int64_t n, double q);

/// Pearson's correlation of n >= 1 pairs; NaN if x or y is constant.
double pearson(const double* x, const double* y, int64_t n);

/// The rank of each of n numbers, 1 for the smallest; equal numbers share their mean rank.
std::vector<double> ranks(const double* x, int64_t n);

}  // namespace stflow
