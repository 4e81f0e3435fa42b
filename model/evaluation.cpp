#include "model/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/random.h"
#include "engine/threads.h"

namespace stflow {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Rows [begin, end) of a matrix.
Tensor rows_of(const Tensor& t, int64_t begin, int64_t end) {
  Tensor part = t;
  part.shape.n[0] = end - begin;
  by_type(t.type, [&](auto zero) { part.data = t.as<decltype(zero)>() + begin * t.cols(); });
  return part;
}

/// The matrix less its columns' means: then sums of squares over any choice of rows lose no digits.
std::vector<double> centred(const Tensor& t) {
  const int64_t n = t.shape[0], genes = t.cols();
  std::vector<double> out(size_t(n * genes)), mean(size_t(genes), 0.0);
  by_type(t.type, [&](auto zero) {
    const auto* values = t.as<decltype(zero)>();
    for (int64_t i = 0; i < n * genes; i++) out[size_t(i)] = double(values[i]), mean[size_t(i % genes)] += double(values[i]) / double(n);
  });
  for (int64_t i = 0; i < n * genes; i++) out[size_t(i)] -= mean[size_t(i % genes)];
  return out;
}

/// How often each row is drawn in a replicate: as many draws within each slide as it has rows.
std::vector<int> drawn_again(const std::vector<int64_t>& slide_ends, uint64_t seed, uint32_t replicate) {
  std::vector<int> times(size_t(slide_ends.empty() ? 0 : slide_ends.back()), 0);
  int64_t begin = 0;
  for (size_t s = 0; s < slide_ends.size(); begin = slide_ends[s], s++) {
    const RandomKey key(seed, Stream::split, replicate, uint32_t(s));
    const auto many = uint64_t(slide_ends[s] - begin);
    for (uint64_t i = 0; i < many; i++) {
      const uint32_t word = key.draw(i / 4).v[i % 4];
      times[size_t(begin) + size_t(uint64_t(word) * many >> 32)]++;
    }
  }
  return times;
}

/// Sums over weighted rows of x, y, their squares and their product, for each gene.
struct Sums {
  std::vector<double> x, y, xx, yy, xy;
  explicit Sums(size_t genes) : x(genes), y(genes), xx(genes), yy(genes), xy(genes) {}

  void add(const double* p, const double* t, double times) {
    for (size_t g = 0; g < x.size(); g++) {
      x[g] += times * p[g], y[g] += times * t[g];
      xx[g] += times * p[g] * p[g], yy[g] += times * t[g] * t[g], xy[g] += times * p[g] * t[g];
    }
  }
  /// NaN where x or y does not vary: its variance is rounding beside that of all rows, `whole`.
  [[nodiscard]] double pearson(size_t g, double n, const Sums& whole) const {
    const double vx = xx[g] - x[g] * x[g] / n, vy = yy[g] - y[g] * y[g] / n;
    if (!(vx > 1e-12 * whole.xx[g]) || !(vy > 1e-12 * whole.yy[g])) return kNone;
    return std::clamp((xy[g] - x[g] * y[g] / n) / (std::sqrt(vx) * std::sqrt(vy)), -1.0, 1.0);
  }
};

Interval percentiles(std::vector<double> values, double level) {
  std::erase_if(values, [](double v) { return std::isnan(v); });
  if (values.empty()) return {kNone, kNone};
  std::sort(values.begin(), values.end());
  const auto n = int64_t(values.size());
  return {quantile_of_sorted(values.data(), n, (1 - level) / 2), quantile_of_sorted(values.data(), n, (1 + level) / 2)};
}

void add_intervals(Evaluation& e, const Tensor& prediction, const Tensor& truth, const std::vector<int64_t>& slide_ends,
                   const BootstrapOptions& options) {
  const auto n = truth.shape[0], genes = truth.cols();
  const std::vector<double> x = centred(prediction), y = centred(truth);
  Sums whole{size_t(genes)};
  for (int64_t i = 0; i < n; i++) whole.add(x.data() + i * genes, y.data() + i * genes, 1);
  const auto replicates = size_t(options.replicates);
  std::vector<std::vector<double>> found(static_cast<size_t>(genes), std::vector<double>(replicates));
  std::vector<double> means(replicates);
  parallel_for(int64_t(replicates), 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const std::vector<int> times = drawn_again(slide_ends, options.seed, uint32_t(r));
      Sums sums{size_t(genes)};
      for (int64_t i = 0; i < n; i++)
        if (times[size_t(i)] > 0) sums.add(x.data() + i * genes, y.data() + i * genes, times[size_t(i)]);
      std::vector<double> of_gene(size_t(genes), kNone);
      for (size_t g = 0; g < size_t(genes); g++) {
        if (!std::isnan(e.pooled.pearson[g])) of_gene[g] = sums.pearson(g, double(n), whole);
        found[g][size_t(r)] = of_gene[g];
      }
      means[size_t(r)] = mean_of_defined(of_gene);
    }
  });
  for (const auto& of_gene : found) e.pearson.push_back(percentiles(of_gene, options.level));
  e.mean_pearson = percentiles(means, options.level);
}

}  // namespace

Evaluation evaluate(const Tensor& prediction, const Tensor& truth, const std::vector<int64_t>& slide_ends,
                    const BootstrapOptions& bootstrap) {
  check(!slide_ends.empty() && slide_ends.back() == truth.shape[0] && std::is_sorted(slide_ends.begin(), slide_ends.end()),
        "evaluate: slides end at {} rows of {}", slide_ends.empty() ? 0 : slide_ends.back(), truth.shape[0]);
  Evaluation e;
  e.pooled = score(prediction, truth, true);
  int64_t begin = 0;
  for (const int64_t end : slide_ends) {
    e.slides.push_back(score(rows_of(prediction, begin, end), rows_of(truth, begin, end), true));
    begin = end;
  }
  if (bootstrap.replicates > 0) add_intervals(e, prediction, truth, slide_ends, bootstrap);
  return e;
}

}  // namespace stflow
