// Log-gamma and digamma for positive arguments, relative error near 1e-15: std::lgamma writes a global variable, and
// neither may differ between C libraries.
#pragma once
#include <cmath>

#include "engine/random.h"

namespace stflow {

/// log Gamma(x), x > 0: shifted to x >= 10, there Stirling's series (Abramowitz and Stegun 6.1.41).
STFLOW_BOTH inline double log_gamma(double x) {
  double shift = 1;
  while (x < 10) shift *= x, x += 1;
  const double r = 1 / x, r2 = r * r;
  const double series =
      r * (1.0 / 12 - r2 * (1.0 / 360 - r2 * (1.0 / 1260 - r2 * (1.0 / 1680 - r2 * (1.0 / 1188 - r2 * (691.0 / 360360 - r2 / 156))))));
  return (x - 0.5) * std::log(x) - x + 0.91893853320467274178 + series - std::log(shift);
}

/// d/dx log Gamma(x), x > 0 (Abramowitz and Stegun 6.3.18).
inline double digamma(double x) {
  double shift = 0;
  while (x < 10) shift += 1 / x, x += 1;
  const double r = 1 / x, r2 = r * r;
  return std::log(x) - 0.5 * r -
         r2 * (1.0 / 12 - r2 * (1.0 / 120 - r2 * (1.0 / 252 - r2 * (1.0 / 240 - r2 * (1.0 / 132 - r2 * (691.0 / 32760 - r2 / 12)))))) -
         shift;
}

}  // namespace stflow
