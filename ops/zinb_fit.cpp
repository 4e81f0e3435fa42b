#include <algorithm>
#include <array>
#include <cmath>

#include "engine/threads.h"
#include "ops/special.h"
#include "ops/zinb.h"

namespace stflow {
namespace {

using Point = std::array<double, 3>;  // log m, log theta, logit pi

double number(const Tensor& t, int64_t i) { return t.type == DType::f64 ? t.as<double>()[i] : double(t.as<float>()[i]); }

/// What the fits of all genes share.
struct Shared {
  std::vector<double> depth, log_depth;  // of the spots that take part
  double mean = 1;                       // counts per spot of the average gene
  double log_theta = 0;                  // centre of the genes' log theta
};

constexpr double kHalfCount = 0.5;  // weight of the prior on m, in counts
constexpr double kThetaSpread = 2;  // standard deviation of log theta
constexpr double kNotInflated = 2;  // weight of the prior against inflation, in spots

/// The penalised negative log-likelihood of one gene.
class Objective {
 public:
  Objective(const Shared& shared, std::vector<double> counts) : s_(shared), x_(std::move(counts)), kind_(x_.size()) {
    values_ = x_;
    std::sort(values_.begin(), values_.end());
    values_.erase(std::unique(values_.begin(), values_.end()), values_.end());
    for (size_t i = 0; i < x_.size(); i++) kind_[i] = size_t(std::lower_bound(values_.begin(), values_.end(), x_[i]) - values_.begin());
    constant_.resize(values_.size()), slope_.resize(values_.size());
  }

  /// Value at p and its gradient; with `inflated` false pi is 0 and p[2] is not looked at.
  double operator()(const Point& p, bool inflated, Point& gradient) {
    const double theta = std::exp(p[1]), pi = inflated ? 1 / (1 + std::exp(-p[2])) : 0;
    const double log_keep = inflated ? -std::log1p(std::exp(p[2])) : 0;  // log(1 - pi)
    for (size_t v = 0; v < values_.size(); v++) {                        // the gamma functions depend on the count alone
      constant_[v] = log_gamma(values_[v] + theta) - log_gamma(theta) - log_gamma(values_[v] + 1);
      slope_[v] = digamma(values_[v] + theta) - digamma(theta);
    }
    double value = 0;
    gradient = {};
    for (size_t i = 0; i < x_.size(); i++) {
      const double x = x_[i], log_mu = p[0] + s_.log_depth[i], mu = std::exp(log_mu);
      const double log_ratio = std::log1p(mu / theta), keep = theta / (theta + mu);
      const double nb = constant_[kind_[i]] - (theta + x) * log_ratio + x * (log_mu - p[1]);
      const double by_m = (x - mu) * keep, by_theta = theta * (slope_[kind_[i]] - log_ratio) + (mu - x) * keep;
      double weight = 1;  // probability that this count comes from the negative binomial
      if (x == 0 && inflated) {
        const double from_nb = std::exp(log_keep + nb), both = pi + from_nb;
        weight = from_nb / both;
        value -= std::log(both);
      } else {
        value -= nb + log_keep;
      }
      gradient[0] -= weight * by_m, gradient[1] -= weight * by_theta, gradient[2] -= (1 - weight) - pi;
    }
    // The priors: Gamma on m, normal on log theta, Beta(1, 1 + kNotInflated) on pi.
    const double m = std::exp(p[0]), off = (p[1] - s_.log_theta) / kThetaSpread;
    value += -kHalfCount * (p[0] - m / s_.mean) + 0.5 * off * off - kNotInflated * log_keep;
    gradient[0] += -kHalfCount * (1 - m / s_.mean), gradient[1] += off / kThetaSpread, gradient[2] += kNotInflated * pi;
    if (!inflated) gradient[2] = 0;
    return value;
  }

  /// d log-posterior / d pi at pi = 0, where it is concave in pi: inflation helps only if this is positive.
  [[nodiscard]] double rise(const Point& p) const {
    const double theta = std::exp(p[1]);
    double sum = -kNotInflated;
    for (size_t i = 0; i < x_.size(); i++) {
      if (x_[i] == 0) sum += std::exp(theta * std::log1p(std::exp(p[0] + s_.log_depth[i]) / theta));
      sum -= 1;
    }
    return sum;
  }

  [[nodiscard]] size_t spots() const { return x_.size(); }
  [[nodiscard]] double total() const {
    double sum = 0;
    for (double x : x_) sum += x;
    return sum;
  }
  [[nodiscard]] double zeros() const { return double(std::count(x_.begin(), x_.end(), 0.0)); }

 private:
  const Shared& s_;
  std::vector<double> x_;
  std::vector<size_t> kind_;  // x_[i] = values_[kind_[i]]
  std::vector<double> values_, constant_, slope_;
};

/// Minimises by BFGS with backtracking; steps are at most 2 long and stay where exp() is harmless.
Point minimise(Objective& f, Point p, bool inflated) {
  constexpr Point kLow{-30, -7, -30}, kHigh{30, 14, 30};
  const int dims = inflated ? 3 : 2;
  double h[3][3];  // the inverse Hessian
  const auto restart = [&] {
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++) h[i][j] = i == j ? 1 / double(f.spots() + 1) : 0;
  };
  restart();
  Point g, next_g;
  double value = f(p, inflated, g);
  for (int iteration = 0, resets = 0; iteration < 200; iteration++) {
    double largest = 0;
    for (int i = 0; i < dims; i++) largest = std::max(largest, std::fabs(g[size_t(i)]));
    if (largest <= 1e-7 * double(f.spots())) break;
    Point step{};
    double slope = 0, length = 0;
    for (int i = 0; i < dims; i++) {
      for (int j = 0; j < dims; j++) step[size_t(i)] -= h[i][j] * g[size_t(j)];
      slope += step[size_t(i)] * g[size_t(i)], length = std::max(length, std::fabs(step[size_t(i)]));
    }
    double scale = length > 2 ? 2 / length : 1;
    Point next{};
    double next_value = value;
    bool moved = false;
    for (int half = 0; half < 40 && slope < 0; half++, scale /= 2) {
      for (size_t i = 0; i < 3; i++) next[i] = std::clamp(p[i] + scale * step[i], kLow[i], kHigh[i]);
      next_value = f(next, inflated, next_g);
      if ((moved = next_value < value + 1e-4 * scale * slope)) break;
    }
    if (!moved) {
      if (resets++) break;  // at the bottom, as far as rounding lets us see
      restart();
      continue;
    }
    Point s{}, y{}, hy{};
    double sy = 0, yhy = 0;
    for (int i = 0; i < dims; i++) s[size_t(i)] = next[size_t(i)] - p[size_t(i)], y[size_t(i)] = next_g[size_t(i)] - g[size_t(i)];
    for (int i = 0; i < dims; i++) {
      for (int j = 0; j < dims; j++) hy[size_t(i)] += h[i][j] * y[size_t(j)];
      sy += s[size_t(i)] * y[size_t(i)], yhy += y[size_t(i)] * hy[size_t(i)];
    }
    if (sy > 0)
      for (int i = 0; i < dims; i++)
        for (int j = 0; j < dims; j++)
          h[i][j] += (1 + yhy / sy) * s[size_t(i)] * s[size_t(j)] / sy - (hy[size_t(i)] * s[size_t(j)] + s[size_t(i)] * hy[size_t(j)]) / sy;
    p = next, g = next_g, value = next_value;
  }
  return p;
}

Zinb fit_gene(const Shared& shared, std::vector<double> counts) {
  Objective f(shared, std::move(counts));
  double depth = 0;
  for (double d : shared.depth) depth += d;
  const double m = (f.total() + kHalfCount) / (depth + kHalfCount / shared.mean);
  Point p = minimise(f, {std::log(m), shared.log_theta, 0}, false);
  double pi = 0;
  if (f.rise(p) > 0) {
    const double start = std::clamp(0.5 * f.zeros() / double(f.spots()), 0.01, 0.9);
    p[2] = std::log(start / (1 - start));
    p = minimise(f, p, true);
    pi = 1 / (1 + std::exp(-p[2]));
  }
  return {std::exp(p[0]), std::exp(p[1]), pi};
}

}  // namespace

std::vector<Zinb> fit_nb_moments(const Tensor& counts) {
  const int64_t n = counts.shape[0], genes = counts.cols();
  std::vector<Zinb> out;
  for (int64_t g = 0; g < genes; g++) {
    double m = 0, v = 0;
    for (int64_t i = 0; i < n; i++) m += number(counts, i * genes + g);
    m /= double(std::max<int64_t>(n, 1));
    for (int64_t i = 0; i < n; i++) v += (number(counts, i * genes + g) - m) * (number(counts, i * genes + g) - m);
    v /= double(std::max<int64_t>(n, 1));
    out.push_back({m, m > 0 ? std::clamp(m * m / std::max(v - m, 1e-3 * m), 0.05, 100.0) : 1.0, 0});
  }
  return out;
}

std::vector<Zinb> fit_zinb(const Tensor& counts, const Tensor& depth) {
  const int64_t n = counts.shape[0], genes = counts.cols();
  check(counts.shape.rank == 2 && depth.shape == Shape{n} && depth.type == DType::f64, "fit_zinb: counts {}, depth {}", counts.shape.text(),
        depth.shape.text());
  Shared shared;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; i++) {
    const double d = depth.as<double>()[i];
    if (d > 0) rows.push_back(i), shared.depth.push_back(d), shared.log_depth.push_back(std::log(d));
  }
  check(!rows.empty(), "fit_zinb: no spot has a positive depth");

  // Moments with the depth taken out: E x = d m and E (x - d m)^2 - d m = d^2 m^2 / theta.
  double total = 0, weight = 0;
  std::vector<double> log_theta;
  for (int64_t g = 0; g < genes; g++) {
    double sum = 0, depths = 0;
    for (size_t r = 0; r < rows.size(); r++) sum += number(counts, rows[r] * genes + g), depths += shared.depth[r];
    const double m = sum / depths;
    double excess = 0, squares = 0;
    for (size_t r = 0; r < rows.size(); r++) {
      const double mu = shared.depth[r] * m, off = number(counts, rows[r] * genes + g) - mu;
      excess += off * off - mu, squares += mu * mu;
    }
    total += sum, weight = depths;
    if (sum >= 20) log_theta.push_back(std::log(std::clamp(squares / std::max(excess, 1e-3 * squares), 0.05, 100.0)));
  }
  if (total > 0) shared.mean = total / (weight * double(genes));
  if (!log_theta.empty()) {
    const auto middle = log_theta.begin() + std::ptrdiff_t(log_theta.size() / 2);
    std::nth_element(log_theta.begin(), middle, log_theta.end());
    shared.log_theta = *middle;
  }

  std::vector<Zinb> out(static_cast<size_t>(genes));
  parallel_for(genes, 1, [&](int64_t g, int64_t) {
    std::vector<double> x;
    x.reserve(rows.size());
    for (int64_t r : rows) x.push_back(number(counts, r * genes + g));
    out[size_t(g)] = fit_gene(shared, std::move(x));
  });
  return out;
}

}  // namespace stflow
