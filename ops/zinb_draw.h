// One draw of the zero-inflated negative binomial: the same source for the host and the device.
#pragma once
#include <cmath>

#include "engine/random.h"
#include "ops/special.h"

namespace stflow {

/// x = 0 with probability pi, else x ~ Poisson(w), w ~ Gamma(shape theta, mean mu).
/// Mean (1 - pi) mu; variance (1 - pi) mu (1 + mu / theta + pi mu); P(0) = pi + (1 - pi) (theta / (theta + mu))^theta.
struct Zinb {
  double mu = 0, theta = 1, pi = 0;  // mu >= 0, theta > 0 (the inverse dispersion), pi in [0, 1]
};

/// The draw of a spot and a gene: its uniform numbers, two from each Philox block, and what is made of them.
class ZinbDraw {
 public:
  STFLOW_BOTH ZinbDraw(const RandomKey& key, uint32_t spot, uint32_t gene)
      : key_(key), next_((uint64_t(spot) << 32) | (uint64_t(gene) << 8)) {}

  /// Once per object.
  STFLOW_BOTH double operator()(const Zinb& z) {
    if (uniform() < z.pi) return 0;
    return poisson(gamma(z.theta) * (z.mu / z.theta));
  }

 private:
  static constexpr int kTries = 64;  // every rejection below accepts with probability > 0.7

  STFLOW_BOTH double uniform() {
    if (half_) {
      half_ = false;
      return open01(block_.v[2], block_.v[3]);
    }
    block_ = key_.draw(next_++);  // at most 2 * 64 + 3 blocks in all: the low byte never overflows
    half_ = true;
    return open01(block_.v[0], block_.v[1]);
  }

  /// Gamma(shape, 1), shape >= 1: Marsaglia and Tsang (2000).
  STFLOW_BOTH double gamma_from_one(double shape) {
    const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    for (int t = 0; t < kTries; t++) {
      const double radius = std::sqrt(-2 * std::log(uniform()));
      const double x = radius * std::cos(2 * M_PI * uniform());
      const double root = 1 + c * x, v = root * root * root;
      if (v <= 0) continue;
      if (std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
    return shape;
  }

  /// Gamma(shape, 1) for any shape > 0. Below 1: Gamma(shape + 1) * U^(1 / shape), which may underflow to 0 as it should.
  STFLOW_BOTH double gamma(double shape) {
    const double g = gamma_from_one(shape >= 1 ? shape : shape + 1);
    return shape >= 1 ? g : g * std::exp(std::log(uniform()) / shape);
  }

  /// log P(k) of a Poisson(w), without cancellation between k and w.
  STFLOW_BOTH static double log_poisson(double w, double k) {
    if (k < 10) return k * std::log(w) - w - log_gamma(k + 1);
    constexpr double kLog2Pi = 1.83787706640934548356;
    const double r = 1 / k, r2 = r * r;
    const double series = r * (1.0 / 12 - r2 * (1.0 / 360 - r2 * (1.0 / 1260 - r2 / 1680)));
    return (k - w) - k * std::log1p((k - w) / w) - 0.5 * (kLog2Pi + std::log(k)) - series;
  }

  /// Poisson(w): inversion below 10, else Hoermann's transformed rejection with squeeze (PTRS, 1993).
  STFLOW_BOTH double poisson(double w) {
    if (!(w > 0)) return 0;
    if (w < 10) {
      const double target = uniform();
      double p = std::exp(-w), sum = p, k = 0;
      while (sum < target && k < 200) k++, p *= w / k, sum += p;
      return k;
    }
    const double b = 0.931 + 2.53 * std::sqrt(w), a = -0.059 + 0.02483 * b;
    const double log_alpha = std::log(1.1239 + 1.1328 / (b - 3.4)), squeeze = 0.9277 - 3.6224 / (b - 2);
    for (int t = 0; t < kTries; t++) {
      const double s = uniform() - 0.5, v = uniform(), us = 0.5 - std::fabs(s);
      const double k = std::floor((2 * a / us + b) * s + w + 0.43);
      if (us >= 0.07 && v <= squeeze) return k;
      if (k < 0 || (us < 0.013 && v > us)) continue;
      if (std::log(v) + log_alpha - std::log(a / (us * us) + b) <= log_poisson(w, k)) return k;
    }
    return std::floor(w);
  }

  RandomKey key_;
  uint64_t next_;
  Philox4 block_{};
  bool half_ = false;
};

/// What is stored for a draw of gene g: as it is or as log(1 + draw), then (x - mean[g]) / sd[g] in float64 unless mean is null.
template <class T> STFLOW_BOTH T stored_draw(double draw, bool log1p, const double* mean, const double* sd, int64_t g) {
  const T x = T(log1p ? std::log1p(draw) : draw);
  return mean ? T((double(x) - mean[g]) / sd[g]) : x;
}

}  // namespace stflow
