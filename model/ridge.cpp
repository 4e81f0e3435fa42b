#include "model/ridge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "model/matrix.h"
#include "model/metrics.h"

namespace stflow {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Rows [begin, end) of t as float64.
std::vector<double> numbers(const Tensor& t, int64_t begin, int64_t end) {
  std::vector<double> out;
  by_type(t.type, [&](auto zero) {
    const auto* p = t.as<decltype(zero)>();
    out.assign(p + begin * t.cols(), p + end * t.cols());
  });
  return out;
}

/// Takes each column's mean off and returns the means.
std::vector<double> centre(std::vector<double>& x, int64_t n, int64_t columns) {
  std::vector<double> mean(static_cast<size_t>(columns), 0.0);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < columns; j++) mean[size_t(j)] += x[size_t(i * columns + j)];
  for (double& m : mean) m /= double(n);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < columns; j++) x[size_t(i * columns + j)] -= mean[size_t(j)];
  return mean;
}

std::vector<double> transpose(const std::vector<double>& x, int64_t n, int64_t columns) {
  std::vector<double> out(x.size());
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < columns; j++) out[size_t(j * n + i)] = x[size_t(i * columns + j)];
  return out;
}

std::vector<double> gather(const std::vector<double>& x, int64_t columns, const std::vector<int64_t>& rows) {
  std::vector<double> out;
  out.reserve(rows.size() * size_t(columns));
  for (int64_t r : rows) out.insert(out.end(), x.begin() + r * columns, x.begin() + (r + 1) * columns);
  return out;
}

/// Ridge regressions on subsets of the same rows: their Gram matrix, X^T X or X X^T, is made once.
class Regressions {
 public:
  Regressions(const Tensor& x, const Tensor& y) : n_(x.shape[0]), f_(x.cols()), g_(y.cols()), primal_(f_ < n_) {
    check(x.shape.rank == 2 && y.shape.rank == 2 && y.shape[0] == n_ && n_ > 0, "ridge: features {}, targets {}", x.shape.text(),
          y.shape.text());
    x_ = numbers(x, 0, n_), y_ = numbers(y, 0, n_);
    for (const auto* v : {&x_, &y_})
      for (size_t i = 0; i < v->size(); i++)
        if (!std::isfinite((*v)[i]))
          fail(Exit::data, "ridge: {} of row {} is {}, expected a finite number", v == &x_ ? "a feature" : "a target",
               i / (v->size() / size_t(n_)), (*v)[i]);
    mean_x_ = centre(x_, n_, f_), mean_y_ = centre(y_, n_, g_);  // once for all, against cancellation
    const int64_t size = primal_ ? f_ : n_;
    gram_.resize(size_t(size * size));
    outer(x_, n_, gram_);
  }

  [[nodiscard]] const std::vector<double>& x() const { return x_; }
  [[nodiscard]] const std::vector<double>& y() const { return y_; }
  [[nodiscard]] int64_t features() const { return f_; }
  [[nodiscard]] int64_t outputs() const { return g_; }

  /// The rows that the following solve() fit. `others` are all the rest.
  void select(const std::vector<int64_t>& rows, const std::vector<int64_t>& others) {
    m_ = int64_t(rows.size());
    auto in = gather(x_, f_, rows), out = gather(y_, g_, rows);
    own_x_ = centre(in, m_, f_), own_y_ = centre(out, m_, g_);
    xt_ = transpose(in, m_, f_);
    if (primal_) {
      system_ = gram_;
      if (!others.empty()) {
        std::vector<double> left(gram_.size());
        outer(gather(x_, f_, others), int64_t(others.size()), left);
        for (size_t i = 0; i < left.size(); i++) system_[i] -= left[i];
      }
      for (int64_t i = 0; i < f_; i++)
        for (int64_t j = 0; j < f_; j++) system_[size_t(i * f_ + j)] -= double(m_) * own_x_[size_t(i)] * own_x_[size_t(j)];
      right_.resize(size_t(f_ * g_));
      product_(xt_.data(), m_, f_, out.data(), g_, false, g_, m_, right_.data(), g_);
    } else {
      system_.resize(size_t(m_ * m_));
      for (int64_t i = 0; i < m_; i++)
        for (int64_t j = 0; j < m_; j++) system_[size_t(i * m_ + j)] = gram_[size_t(rows[size_t(i)] * n_ + rows[size_t(j)])];
      centre(system_, m_, m_);  // columns, then rows: K - (K's means) is symmetric again
      for (int64_t i = 0; i < m_; i++) {
        double mean = 0;
        for (int64_t j = 0; j < m_; j++) mean += system_[size_t(i * m_ + j)];
        for (int64_t j = 0; j < m_; j++) system_[size_t(i * m_ + j)] -= mean / double(m_);
      }
      right_ = std::move(out);
    }
    trace_ = 0;
    for (int64_t i = 0, size = primal_ ? f_ : m_; i < size; i++) trace_ += system_[size_t(i * size + i)];
  }

  /// Weights (F, G) on the selected rows.
  std::vector<double> solve(double lambda) {
    check(lambda > 0, "ridge: lambda {}, expected > 0", lambda);
    std::vector<double> weight(size_t(f_ * g_), 0.0);
    const double penalty = lambda * trace_ / double(m_);
    if (!(penalty > 0)) return weight;  // all features constant
    const int64_t size = primal_ ? f_ : m_;
    work_ = system_;
    for (int64_t i = 0; i < size; i++) work_[size_t(i * size + i)] += penalty;
    if (!cholesky_.factor(work_.data(), size))
      fail(Exit::data, "ridge: the features' Gram matrix overflows, expected numbers of sane size");
    auto solution = right_;
    cholesky_.solve(solution.data(), g_);
    if (primal_) return solution;
    product_(xt_.data(), m_, f_, solution.data(), g_, false, g_, m_, weight.data(), g_);
    return weight;
  }

  Ridge model(double lambda) {
    Ridge r{f_, g_, solve(lambda), std::vector<double>(size_t(g_))};
    for (int64_t g = 0; g < g_; g++) {
      r.offset[size_t(g)] = mean_y_[size_t(g)] + own_y_[size_t(g)];
      for (int64_t j = 0; j < f_; j++) r.offset[size_t(g)] -= (mean_x_[size_t(j)] + own_x_[size_t(j)]) * r.weight[size_t(j * g_ + g)];
    }
    return r;
  }

 private:
  /// gram = X^T X or X X^T of the m rows of x.
  void outer(const std::vector<double>& x, int64_t m, std::vector<double>& gram) {
    if (!primal_) return product_(x.data(), f_, m, x.data(), f_, true, m, f_, gram.data(), m);
    const auto t = transpose(x, m, f_);
    product_(t.data(), m, f_, x.data(), f_, false, f_, m, gram.data(), f_);
  }

  int64_t n_, f_, g_, m_ = 0;
  bool primal_;
  std::vector<double> x_, y_, mean_x_, mean_y_, gram_;
  std::vector<double> own_x_, own_y_;  // means of the selected rows, beyond mean_x_ and mean_y_
  std::vector<double> xt_, system_, right_, work_;
  double trace_ = 0;
  Product product_;
  Cholesky cholesky_;
};

std::vector<int64_t> first(int64_t n) {
  std::vector<int64_t> rows(static_cast<size_t>(n));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

}  // namespace

void Ridge::predict(const Tensor& x, Tensor y) const {
  const int64_t n = x.shape[0];
  check(x.shape == Shape{n, features} && y.shape == Shape{n, outputs}, "ridge: x {}, y {}, expected {} features, {} outputs",
        x.shape.text(), y.shape.text(), features, outputs);
  constexpr int64_t kRows = 1024;  // at a time, to bound the float64 copy
  Product product;
  std::vector<double> out(size_t(std::min(n, kRows) * outputs));
  for (int64_t begin = 0; begin < n; begin += kRows) {
    const int64_t rows = std::min(kRows, n - begin);
    const auto in = numbers(x, begin, begin + rows);
    product(in.data(), features, rows, weight.data(), outputs, false, outputs, features, out.data(), outputs);
    by_type(y.type, [&](auto zero) {
      using T = decltype(zero);
      for (int64_t i = 0; i < rows * outputs; i++) y.as<T>()[begin * outputs + i] = T(out[size_t(i)] + offset[size_t(i % outputs)]);
    });
  }
}

Ridge fit_ridge(const Tensor& x, const Tensor& y, double lambda) {
  Regressions all(x, y);
  all.select(first(x.shape[0]), {});
  return all.model(lambda);
}

RidgeChoice choose_ridge(const Tensor& x, const Tensor& y, const Tensor& group, const std::vector<double>& lambdas) {
  const int64_t n = x.shape[0];
  check(group.shape == Shape{n} && group.type == DType::i32 && !lambdas.empty(), "ridge: {} groups of {} rows", group.shape.text(), n);
  const auto* of = group.as<int32_t>();
  const int32_t groups = n ? *std::max_element(of, of + n) + 1 : 0;
  Regressions all(x, y);
  RidgeChoice choice;
  choice.scores.assign(lambdas.size(), 0.0);
  int scored = 0;
  for (int32_t left_out = 0; left_out < groups; left_out++) {
    std::vector<int64_t> in, out;
    for (int64_t i = 0; i < n; i++) (of[i] == left_out ? out : in).push_back(i);
    if (in.empty() || out.empty()) continue;
    all.select(in, out);
    auto truth = gather(all.y(), all.outputs(), out);
    const auto features = gather(all.x(), all.features(), out);
    std::vector<double> predicted(truth.size()), of_fold;
    const auto m = int64_t(out.size());
    Product product;
    for (double lambda : lambdas) {
      const auto weight = all.solve(lambda);
      product(features.data(), all.features(), m, weight.data(), all.outputs(), false, all.outputs(), all.features(), predicted.data(),
              all.outputs());
      of_fold.push_back(score(view(predicted.data(), {m, all.outputs()}), view(truth.data(), {m, all.outputs()})).mean_pearson);
    }
    if (std::any_of(of_fold.begin(), of_fold.end(), [](double r) { return std::isnan(r); })) continue;
    scored++;
    for (size_t l = 0; l < lambdas.size(); l++) choice.scores[l] += of_fold[l];
  }
  if (!scored) fail(Exit::data, "ridge: no group of {} can be left out and scored, expected two groups or more whose genes vary", groups);
  for (double& s : choice.scores) s /= scored;
  size_t best = 0;
  for (size_t l = 1; l < lambdas.size(); l++)
    if (choice.scores[l] > choice.scores[best]) best = l;
  choice.lambda = lambdas[best];
  return choice;
}

std::vector<int32_t> spatial_blocks(const Tensor& coords, const Tensor& rank, int blocks) {
  const int64_t n = coords.shape[0];
  check(coords.shape == Shape{n, 2} && rank.shape == Shape{n} && blocks > 0 && (blocks & (blocks - 1)) == 0,
        "spatial_blocks: {} into {}, expected a power of two", coords.shape.text(), blocks);
  const auto* c = coords.as<double>();
  const auto* position = rank.as<int32_t>();
  auto order = first(n);
  std::vector<int32_t> block(static_cast<size_t>(n), 0);
  auto halve = [&](auto&& self, int64_t begin, int64_t end, int32_t number, int parts) -> void {
    if (parts == 1) {
      for (int64_t i = begin; i < end; i++) block[size_t(order[size_t(i)])] = number;
      return;
    }
    double low[2] = {kInfinity, kInfinity}, high[2] = {-kInfinity, -kInfinity};
    for (int64_t i = begin; i < end; i++)
      for (int a = 0; a < 2; a++) {
        const double v = c[2 * order[size_t(i)] + a];
        low[a] = std::min(low[a], v), high[a] = std::max(high[a], v);
      }
    const int axis = high[1] - low[1] > high[0] - low[0];
    std::sort(order.begin() + begin, order.begin() + end, [&](int64_t a, int64_t b) {
      const double u = c[2 * a + axis], v = c[2 * b + axis];
      return u != v ? u < v : position[a] < position[b];
    });
    const int64_t middle = begin + (end - begin) / 2;
    self(self, begin, middle, number, parts / 2);
    self(self, middle, end, number + parts / 2, parts / 2);
  };
  halve(halve, 0, n, 0, blocks);
  return block;
}

}  // namespace stflow
