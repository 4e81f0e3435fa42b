// Ridge regression with intercept in closed form: the linear baseline, and the linear part of the default model.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace stflow {

/// y = offset + x^T weight.
struct Ridge {
  int64_t features = 0, outputs = 0;
  std::vector<double> weight;  // (features, outputs)
  std::vector<double> offset;  // (outputs)

  /// y (n, outputs) f32 or f64 from x (n, features) f32 or f64.
  void predict(const Tensor& x, Tensor y) const;
};

/// Minimises sum |Xc W - Yc|^2 + lambda c |W|^2 over the centred x (n, F) and y (n, G), f32 or f64, with
/// c = trace(Xc^T Xc) / n, the mean square of a centred row, so that lambda does not depend on the features' unit. lambda > 0.
/// float64 inside; solves a system of size min(F, n). Throws Exit::data if a number is not finite.
Ridge fit_ridge(const Tensor& x, const Tensor& y, double lambda);

/// The penalties that choose_ridge() tries unless told otherwise.
inline constexpr double kRidgeLambdas[] = {0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5};

struct RidgeChoice {
  double lambda = 0;
  std::vector<double> scores;  // of each lambda: the mean over the left-out groups of their mean Pearson correlation
};

/// Leaves out one group after the other, fits on the rest with every lambda, scores the group that was left out. group (n)
/// i32 holds 0, 1, ...: the sections, or spatial_blocks() where there is one. The Gram matrix is made once.
/// The smallest of equally good lambdas wins. Throws Exit::data for fewer than two groups or if nothing has a correlation.
RidgeChoice choose_ridge(const Tensor& x, const Tensor& y, const Tensor& group, const std::vector<double>& lambdas);

/// Cuts a section into `blocks` (a power of two) compact groups of nearly equal size: halves the spots along the longer
/// side, again and again. coords (n, 2) f64; rank (n) i32 decides ties. Returns the block of each spot.
std::vector<int32_t> spatial_blocks(const Tensor& coords, const Tensor& rank, int blocks);

}  // namespace stflow
