#include "model/position.h"

#include <algorithm>
#include <cmath>

namespace stflow {
namespace {

/// The cubic of Keys (1981).
double cubic(double x, double a) {
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0.0;
}

/// Antialiased bicubic: a = -1/2, widened by the reduction; beyond the border there is nothing.
void widened_row(double centre, double widen, int64_t from, double* weights) {
  const auto first = std::max<int64_t>(0, int64_t(centre - 2 * widen + 0.5)), last = std::min(from, int64_t(centre + 2 * widen + 0.5));
  double total = 0;
  for (int64_t j = first; j < last; j++) total += weights[j] = cubic((double(j) - centre + 0.5) / widen, -0.5);
  for (int64_t j = first; j < last; j++) weights[j] /= total;
}

/// Weights (to, from) of one axis.
std::vector<double> weights_of(PositionRule rule, int64_t from, int64_t to) {
  // DINO gives torch a scale factor with a tenth of a cell too much, so that rounding cannot lose one; its pixels then lie a little off.
  const double scale = double(from) / (double(to) + (rule == PositionRule::offset ? 0.1 : 0.0));
  std::vector<double> all(size_t(to * from), 0.0);
  for (int64_t i = 0; i < to; i++) {
    double* row = all.data() + i * from;
    const double centre = scale * (double(i) + 0.5);
    if (rule == PositionRule::antialias) {
      widened_row(centre, std::max(scale, 1.0), from, row);
      continue;
    }
    const double at = centre - 0.5, below = std::floor(at);  // torch without antialiasing: beyond the border lies the last cell again
    const bool linear = rule == PositionRule::bilinear;
    for (int64_t tap = linear ? 0 : -1; tap <= (linear ? 1 : 2); tap++) {
      const double distance = std::fabs(below + double(tap) - at);
      row[std::clamp<int64_t>(int64_t(below) + tap, 0, from - 1)] += linear ? 1 - distance : cubic(distance, -0.75);
    }
  }
  return all;
}

}  // namespace

std::vector<float> resample_position(const std::vector<float>& from, int64_t prefix, int64_t from_side, int64_t to_side, int64_t dim,
                                     PositionRule rule) {
  const auto weights = weights_of(rule, from_side, to_side);
  std::vector<float> to(from.begin(), from.begin() + prefix * dim);
  to.resize(size_t((prefix + to_side * to_side) * dim));
  std::vector<double> sum(static_cast<size_t>(dim));
  for (int64_t y = 0; y < to_side; y++)
    for (int64_t x = 0; x < to_side; x++) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t v = 0; v < from_side; v++)
        for (int64_t u = 0; u < from_side; u++) {
          const double w = weights[size_t(y * from_side + v)] * weights[size_t(x * from_side + u)];
          if (w == 0) continue;
          const float* row = from.data() + (prefix + v * from_side + u) * dim;
          for (int64_t c = 0; c < dim; c++) sum[size_t(c)] += w * double(row[c]);
        }
      std::transform(sum.begin(), sum.end(), to.begin() + (prefix + y * to_side + x) * dim, [](double s) { return float(s); });
    }
  return to;
}

}  // namespace stflow
