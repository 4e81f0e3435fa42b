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
  std::vector<double> mse;                     // mean squared error of each gene
  double mean_pearson = 0, mean_spearman = 0;  // over the genes that have one; NaN if none has
  double mean_mse = 0;
  int64_t undefined = 0;  // genes without a correlation
};

/// prediction and truth (n, G), f32 or f64. Float64 inside, sums in the order of the spots.
Scores score(const Tensor& prediction, const Tensor& truth, bool with_spearman = false);

/// The mean of each gene's correlation over those of the results that have one; NaN where none has.
std::vector<double> mean_by_gene(const std::vector<Scores>& results);

/// Pearson's correlation of n >= 1 pairs; NaN if x or y is constant.
double pearson(const double* x, const double* y, int64_t n);

/// The rank of each of n numbers, 1 for the smallest; equal numbers share their mean rank.
std::vector<double> ranks(const double* x, int64_t n);

}  // namespace stflow
