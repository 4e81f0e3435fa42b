#include "ops/zinb.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/threads.h"
#include "ops/special.h"

namespace stflow {
namespace {

constexpr int kTries = 64;  // every rejection below accepts with probability > 0.7
constexpr double kLog2Pi = 1.83787706640934548356;

/// Uniform numbers for one draw, two from each Philox block.
class Uniforms {
 public:
  Uniforms(const RandomKey& key, uint32_t spot, uint32_t gene) : key_(key), next_((uint64_t(spot) << 32) | (uint64_t(gene) << 8)) {}
  double operator()() {
    if (half_) {
      half_ = false;
      return open01(block_.v[2], block_.v[3]);
    }
    block_ = key_.draw(next_++);  // at most 2 * 64 + 3 blocks in all: the low byte never overflows
    half_ = true;
    return open01(block_.v[0], block_.v[1]);
  }

 private:
  RandomKey key_;
  uint64_t next_;
  Philox4 block_{};
  bool half_ = false;
};

/// Gamma(shape, 1), shape >= 1: Marsaglia and Tsang (2000).
double gamma_from_one(double shape, Uniforms& u) {
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (int t = 0; t < kTries; t++) {
    const double radius = std::sqrt(-2 * std::log(u()));
    const double x = radius * std::cos(2 * M_PI * u());
    const double root = 1 + c * x, v = root * root * root;
    if (v <= 0) continue;
    if (std::log(u()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
  return shape;
}

/// Gamma(shape, 1) for any shape > 0. Below 1: Gamma(shape + 1) * U^(1 / shape), which may underflow to 0 as it should.
double gamma(double shape, Uniforms& u) {
  if (shape >= 1) return gamma_from_one(shape, u);
  const double g = gamma_from_one(shape + 1, u);
  return g * std::exp(std::log(u()) / shape);
}

/// log P(k) of a Poisson(w), without cancellation between k and w.
double log_poisson(double w, double k) {
  if (k < 10) return k * std::log(w) - w - log_gamma(k + 1);
  const double r = 1 / k, r2 = r * r;
  const double series = r * (1.0 / 12 - r2 * (1.0 / 360 - r2 * (1.0 / 1260 - r2 / 1680)));
  return (k - w) - k * std::log1p((k - w) / w) - 0.5 * (kLog2Pi + std::log(k)) - series;
}

/// Poisson(w): inversion below 10, else Hoermann's transformed rejection with squeeze (PTRS, 1993).
double poisson(double w, Uniforms& u) {
  if (!(w > 0)) return 0;
  if (w < 10) {
    const double target = u();
    double p = std::exp(-w), sum = p, k = 0;
    while (sum < target && k < 200) k++, p *= w / k, sum += p;
    return k;
  }
  const double b = 0.931 + 2.53 * std::sqrt(w), a = -0.059 + 0.02483 * b;
  const double log_alpha = std::log(1.1239 + 1.1328 / (b - 3.4)), squeeze = 0.9277 - 3.6224 / (b - 2);
  for (int t = 0; t < kTries; t++) {
    const double s = u() - 0.5, v = u(), us = 0.5 - std::fabs(s);
    const double k = std::floor((2 * a / us + b) * s + w + 0.43);
    if (us >= 0.07 && v <= squeeze) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (std::log(v) + log_alpha - std::log(a / (us * us) + b) <= log_poisson(w, k)) return k;
  }
  return std::floor(w);
}

}  // namespace

Zinb zinb_of_logits(double total_count, double logits, double zi_logits) {
  return {total_count * std::exp(logits), total_count, 1 / (1 + std::exp(-zi_logits))};
}

double log_likelihood(const Zinb& z, double x) {
  const double share = z.mu / z.theta;
  if (x == 0) return std::log(z.pi + (1 - z.pi) * std::exp(-z.theta * std::log1p(share)));
  if (!(x > 0) || z.mu == 0 || z.pi == 1) return -std::numeric_limits<double>::infinity();
  return std::log1p(-z.pi) + log_gamma(x + z.theta) - log_gamma(z.theta) - log_gamma(x + 1) - (z.theta + x) * std::log1p(share) +
         x * std::log(share);
}

double draw_zinb(const Zinb& z, const RandomKey& key, uint32_t spot, uint32_t gene) {
  Uniforms u(key, spot, gene);
  if (u() < z.pi) return 0;
  return poisson(gamma(z.theta, u) * (z.mu / z.theta), u);
}

void sample_zinb(const std::vector<Zinb>& genes, const Tensor& rank, const RandomKey& key, bool log1p, Tensor out) {
  const int64_t n = out.shape[0], columns = out.cols(), count = int64_t(genes.size());
  check(out.shape.rank == 2 && rank.shape == Shape{n} && (count == columns || count == 1) && columns < (1 << 24),
        "zinb: {} genes, ranks {}, output {}", count, rank.shape.text(), out.shape.text());
  for (const Zinb& z : genes)
    check(z.mu >= 0 && z.theta > 0 && z.pi >= 0 && z.pi <= 1, "zinb: mu {}, theta {}, pi {}", z.mu, z.theta, z.pi);
  const auto* position = rank.as<int32_t>();
  by_type(out.type, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(n, 1 + 1024 / std::max<int64_t>(columns, 1), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++)
        for (int64_t g = 0; g < columns; g++) {
          const double x = draw_zinb(genes[size_t(count == 1 ? 0 : g)], key, uint32_t(position[i]), uint32_t(g));
          out.as<T>()[i * columns + g] = T(log1p ? std::log1p(x) : x);
        }
    });
  });
}

}  // namespace stflow
