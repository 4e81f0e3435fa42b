// How training sections judge each other: what is held out, and the linear models chosen that way.
#pragma once
#include <vector>

#include "model/ridge.h"
#include "model/scaling.h"

namespace stflow {

/// One way to hold out: train on some slides, judge on others.
struct Fold {
  std::vector<const Slide*> train, held_out;
};

/// Validation slides make one fold; otherwise sections are left out in turn (at most five folds), and a lone section is
/// cut into four compact blocks. No fold if it is too small to cut.
struct Folds {
  std::vector<Slide> blocks;  // of a lone section
  std::vector<Fold> folds;
  bool validation = false;  // the one fold's held-out slides are not training slides

  /// All slides must stay.
  Folds(const std::vector<Slide>& train, const std::vector<Slide>& val);
  Folds(const Folds&) = delete;
};

/// A linear model of log(1 + counts) on a feature pipeline's inputs.
struct LinearModel {
  FeaturePipeline pipeline;
  Ridge ridge;
  double lambda = 0;

  /// (n, G) in log(1 + counts).
  [[nodiscard]] std::vector<float> predict(const Slide& slide) const;
};

/// The penalty with the highest mean over folds of the mean Pearson correlation over genes, from kRidgeLambdas; 1 without folds.
double choose_penalty(const Folds& folds, const FeaturePipeline& pipeline, int64_t genes);

/// Fits on all training slides: features standardised over their spots, penalty chosen on the folds.
LinearModel fit_linear(const std::vector<Slide>& train, const Folds& folds, const std::vector<int>& surroundings, int64_t genes);

/// A matrix view of row-major numbers.
Tensor matrix(const std::vector<float>& v, int64_t cols);

}  // namespace stflow
