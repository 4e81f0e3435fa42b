// How far predictions are from what was measured on spots that were left out: what the draws of a flow do not tell, as most of the
// distance is noise of the measurement and what the image does not show.
#pragma once
#include <cstdint>
#include <vector>

namespace stflow {

/// Of each gene, measured less predicted log(1 + counts) over left-out training spots.
struct Residuals {
  static constexpr int64_t kLevels = 101;  // quantiles 0, 0.01 ... 1

  std::vector<double> sd;         // G: root mean square
  std::vector<double> quantiles;  // (G, kLevels), rising

  /// False for models without left-out spots.
  [[nodiscard]] bool active() const { return !sd.empty(); }
  /// truth and prediction (n, genes), n >= 1.
  static Residuals fit(const std::vector<float>& truth, const std::vector<float>& prediction, int64_t genes);
  /// The q-quantile of a gene, 0 <= q <= 1, between the levels in proportion. Added to a prediction it bounds a new measurement from above
  /// with probability q, as far as a new section is like those left out (split conformal prediction without its correction for few spots).
  [[nodiscard]] double quantile(int64_t gene, double q) const;
};

}  // namespace stflow
