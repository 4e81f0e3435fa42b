#include "model/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "engine/threads.h"

namespace stflow {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::vector<double> column(const Tensor& t, int64_t g) {
  std::vector<double> out(size_t(t.shape[0]));
  by_type(t.type, [&](auto zero) {
    for (size_t i = 0; i < out.size(); i++) out[i] = double(t.as<decltype(zero)>()[int64_t(i) * t.cols() + g]);
  });
  return out;
}

}  // namespace

double mean_of_defined(const std::vector<double>& values) {
  double sum = 0;
  int64_t count = 0;
  for (double x : values)
    if (!std::isnan(x)) sum += x, count++;
  return count ? sum / double(count) : kNone;
}

double quantile_of_sorted(const double* sorted, int64_t n, double q) {
  const double at = q * double(n - 1);
  const auto below = int64_t(at);
  return below + 1 < n ? sorted[below] + (at - double(below)) * (sorted[below + 1] - sorted[below]) : sorted[n - 1];
}

double pearson(const double* x, const double* y, int64_t n) {
  double mx = 0, my = 0;
  bool varies_x = false, varies_y = false;
  for (int64_t i = 0; i < n; i++) {
    mx += x[i] / double(n), my += y[i] / double(n);
    varies_x |= x[i] != x[0], varies_y |= y[i] != y[0];
  }
  if (!varies_x || !varies_y) return kNone;
  double xx = 0, yy = 0, xy = 0;
  for (int64_t i = 0; i < n; i++) {
    const double a = x[i] - mx, b = y[i] - my;
    xx += a * a, yy += b * b, xy += a * b;
  }
  return std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

std::vector<double> ranks(const double* x, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return x[a] < x[b]; });
  std::vector<double> out(static_cast<size_t>(n));
  for (size_t s = 0, e = 0; s < order.size(); s = e) {
    while (e < order.size() && !(x[order[e]] > x[order[s]])) e++;
    for (size_t i = s; i < e; i++) out[size_t(order[i])] = 0.5 * double(s + e + 1);
  }
  return out;
}

Scores score(const Tensor& prediction, const Tensor& truth, bool with_spearman) {
  check(prediction.shape == truth.shape && truth.shape.rank == 2, "score: prediction {}, truth {}", prediction.shape.text(),
        truth.shape.text());
  const int64_t n = truth.shape[0], genes = truth.cols();
  Scores s;
  for (auto* of_gene : {&s.pearson, &s.mse, &s.mae, &s.r2}) of_gene->resize(size_t(genes));
  if (with_spearman) s.spearman.resize(size_t(genes));
  parallel_for(genes, 1 + 16384 / (n + 1), [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; g++) {
      const auto x = column(prediction, g), y = column(truth, g);
      double square = 0, absolute = 0, mean = 0, deviation = 0;
      for (size_t i = 0; i < x.size(); i++)
        square += (x[i] - y[i]) * (x[i] - y[i]), absolute += std::fabs(x[i] - y[i]), mean += y[i] / double(n);
      for (const double v : y) deviation += (v - mean) * (v - mean);
      const bool varies = std::adjacent_find(y.begin(), y.end(), std::not_equal_to<>()) != y.end();
      s.mse[size_t(g)] = n > 0 ? square / double(n) : kNone;
      s.mae[size_t(g)] = n > 0 ? absolute / double(n) : kNone;
      s.r2[size_t(g)] = varies ? 1 - square / deviation : kNone;
      s.pearson[size_t(g)] = pearson(x.data(), y.data(), n);
      if (with_spearman) s.spearman[size_t(g)] = pearson(ranks(x.data(), n).data(), ranks(y.data(), n).data(), n);
    }
  });
  s.mean_pearson = mean_of_defined(s.pearson);
  s.mean_spearman = mean_of_defined(s.spearman);
  s.mean_mse = mean_of_defined(s.mse);
  s.mean_mae = mean_of_defined(s.mae);
  s.mean_r2 = mean_of_defined(s.r2);
  s.undefined = std::count_if(s.pearson.begin(), s.pearson.end(), [](double r) { return std::isnan(r); });
  return s;
}

std::vector<double> mean_by_gene(const std::vector<Scores>& results) {
  std::vector<double> mean, of;
  for (size_t g = 0; !results.empty() && g < results[0].pearson.size(); g++) {
    of.clear();
    for (const Scores& s : results) of.push_back(s.pearson[g]);
    mean.push_back(mean_of_defined(of));
  }
  return mean;
}

}  // namespace stflow
