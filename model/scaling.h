// What happens to numbers before they meet a model: features and targets brought to a common scale, and each spot's
// features joined by those of its surroundings.
#pragma once
#include <span>
#include <vector>

#include "model/slide.h"

namespace stflow {

/// Per-column mean and standard deviation, fitted on training spots; empty: the identity.
struct Standardizer {
  std::vector<double> mean, sd;
  double clip = 0;  // > 0: results are cut to [-clip, clip]

  [[nodiscard]] bool active() const { return !mean.empty(); }
  /// Fits on the rows of all matrices (n, cols) together. Constant columns get sd 1.
  static Standardizer fit(const std::vector<const std::vector<float>*>& matrices, int64_t cols, double clip);
  /// x: whole rows.
  void apply(std::span<float> x) const;
  void undo(std::vector<float>& x) const;
};

/// Where standardised features are cut, in standard deviations.
inline constexpr double kFeatureClip = 3;

/// log(1 + x), elementwise.
std::vector<float> log1p(const std::vector<float>& x);

/// For each of the n spots of a whole slide the k others nearest to it, nearest first.
struct Surroundings {
  int k = 0;
  std::vector<int32_t> spots;  // (n, k)
};

/// Turns an encoder's features into a model's inputs (n, dim * (1 + surroundings)): standardised, then for each k of
/// `surroundings` the mean over the k nearest other spots of the whole slide (all others where there are fewer; zero for a
/// lone spot). Expression follows its neighbourhood: a linear model gains most of what smoothing gives from these columns.
struct FeaturePipeline {
  Standardizer scale;
  std::vector<int> surroundings;
  [[nodiscard]] int64_t inputs(int64_t dim) const { return dim * int64_t(1 + surroundings.size()); }
  [[nodiscard]] std::vector<float> apply(const Slide& slide) const;
  /// Whom the surroundings of a whole slide's spots are: what apply() of some of its spots needs. Empty without surroundings.
  [[nodiscard]] Surroundings surroundings_of(const Slide& slide) const;
  /// The inputs of some spots (rows of the slide), as apply() of the whole slide has them.
  [[nodiscard]] std::vector<float> apply(const Slide& slide, const Surroundings& around, std::span<const int32_t> spots) const;
  /// The pipeline with its scale fitted on the features of `train`.
  static FeaturePipeline fit(const std::vector<const Slide*>& train, const std::vector<int>& surroundings, bool standardize);
};

}  // namespace stflow
