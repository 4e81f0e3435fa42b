// How good predictions of whole sections are, and how sure one can be of that.
#pragma once
#include <cstdint>
#include <vector>

#include "model/metrics.h"

namespace stflow {

struct Interval {
  double low = 0, high = 0;
};

/// Intervals by drawing spots again, with replacement, within each slide. Neighbouring spots are alike, so that these are, if anything,
/// too narrow; they say nothing of other slides.
struct BootstrapOptions {
  int replicates = 1000;  // 0: no intervals
  double level = 0.95;
  uint64_t seed = 1;
};

struct Evaluation {
  Scores pooled;               // over the spots of all slides, with Spearman
  std::vector<Scores> slides;  // of each slide by itself, with Spearman
  /// Percentiles over the replicates, of each gene's pooled Pearson and of their mean over genes; NaN for a gene without one, empty without
  /// replicates.
  std::vector<Interval> pearson;
  Interval mean_pearson;
};

/// prediction and truth (n, G), f32 or f64, in log(1 + counts), slide after slide; slide_ends: behind the last row of each, rising to n.
/// Float64 inside; the same at any number of threads.
Evaluation evaluate(const Tensor& prediction, const Tensor& truth, const std::vector<int64_t>& slide_ends,
                    const BootstrapOptions& bootstrap = {});

}  // namespace stflow
