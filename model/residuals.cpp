#include "model/residuals.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "model/metrics.h"

namespace stflow {

Residuals Residuals::fit(const std::vector<float>& truth, const std::vector<float>& prediction, int64_t genes) {
  check(truth.size() == prediction.size() && !truth.empty() && genes > 0, "residuals: {} and {} values of {} genes", truth.size(),
        prediction.size(), genes);
  Residuals r;
  const size_t n = truth.size() / size_t(genes);
  std::vector<double> of(n);
  for (size_t g = 0; g < size_t(genes); g++) {
    double square = 0;
    for (size_t i = 0; i < n; i++) {
      const size_t at = i * size_t(genes) + g;
      of[i] = double(truth[at]) - double(prediction[at]);
      square += of[i] * of[i];
    }
    r.sd.push_back(std::sqrt(square / double(n)));
    std::sort(of.begin(), of.end());
    for (int64_t l = 0; l < kLevels; l++) r.quantiles.push_back(quantile_of_sorted(of.data(), int64_t(n), double(l) / (kLevels - 1)));
  }
  return r;
}

double Residuals::quantile(int64_t gene, double q) const { return quantile_of_sorted(quantiles.data() + gene * kLevels, kLevels, q); }

}  // namespace stflow
