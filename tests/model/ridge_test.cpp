#include "model/ridge.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/storage.h"
#include "engine/threads.h"
#include "model/matrix.h"
#include "model/metrics.h"
#include "tests/check.h"
#include "tests/ops/layouts.h"

using namespace stflow;

namespace {

/// Gaussian elimination with pivoting on a small dense system; b (n, columns) becomes the solution.
void eliminate(std::vector<double> a, std::vector<double>& b, size_t n, size_t columns) {
  for (size_t j = 0; j < n; j++) {
    size_t pivot = j;
    for (size_t i = j; i < n; i++)
      if (std::fabs(a[i * n + j]) > std::fabs(a[pivot * n + j])) pivot = i;
    for (size_t c = 0; c < n; c++) std::swap(a[j * n + c], a[pivot * n + c]);
    for (size_t c = 0; c < columns; c++) std::swap(b[j * columns + c], b[pivot * columns + c]);
    for (size_t i = 0; i < n; i++) {
      if (i == j) continue;
      const double f = a[i * n + j] / a[j * n + j];
      for (size_t c = j; c < n; c++) a[i * n + c] -= f * a[j * n + c];
      for (size_t c = 0; c < columns; c++) b[i * columns + c] -= f * b[j * columns + c];
    }
  }
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < columns; c++) b[i * columns + c] /= a[i * n + i];
}

/// The normal equations with an explicit column of ones that is not penalised: an independent way to the same answer.
std::vector<double> direct(const std::vector<double>& x, const std::vector<double>& y, size_t n, size_t f, size_t g, double lambda) {
  std::vector<double> mean(f, 0.0), a((f + 1) * (f + 1), 0.0), b((f + 1) * g, 0.0);
  double trace = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < f; j++) mean[j] += x[i * f + j] / double(n);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < f; j++) trace += (x[i * f + j] - mean[j]) * (x[i * f + j] - mean[j]);
  auto at = [&](size_t i, size_t j) { return j == f ? 1.0 : x[i * f + j]; };
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j <= f; j++) {
      for (size_t k = 0; k <= f; k++) a[j * (f + 1) + k] += at(i, j) * at(i, k);
      for (size_t k = 0; k < g; k++) b[j * g + k] += at(i, j) * y[i * g + k];
    }
  for (size_t j = 0; j < f; j++) a[j * (f + 1) + j] += lambda * trace / double(n);
  eliminate(a, b, f + 1, g);
  return b;
}

double worst(const std::vector<double>& a, const std::vector<double>& b) {
  double d = 0;
  for (size_t i = 0; i < a.size(); i++) d = std::max(d, std::fabs(a[i] - b[i]));
  return d;
}

}  // namespace

TEST_CASE("matrix: Cholesky systems of awkward sizes, and what is not positive definite") {
  for (int64_t n : {1, 2, 63, 64, 65, 200, 333})
    for (int64_t columns : {1, 5, 50}) {
      CAPTURE(n);
      auto x = test::normal(size_t(n * n), 1), b = test::normal(size_t(n * columns), 2);
      std::vector<double> a(x.size());
      Product product;
      product(x.data(), n, n, x.data(), n, true, n, n, a.data(), n);
      for (int64_t i = 0; i < n; i++) a[size_t(i * n + i)] += 1;
      auto want = b;
      eliminate(a, want, size_t(n), size_t(columns));
      std::vector<double> first;
      for (int threads : {1, 3}) {
        set_thread_count(threads);
        auto l = a, got = b;
        Cholesky cholesky;
        REQUIRE(cholesky.factor(l.data(), n));
        cholesky.solve(got.data(), columns);
        CHECK(worst(got, want) <= 1e-10);
        if (first.empty()) first = got;
        CHECK(got == first);
      }
    }
  set_thread_count(0);
  Cholesky cholesky;
  std::vector<double> indefinite = {1, 2, 2, 1}, nan(100 * 100, NAN);
  CHECK(!cholesky.factor(indefinite.data(), 2));
  CHECK(!cholesky.factor(nan.data(), 100));
}

TEST_CASE("ridge: equals the normal equations, with fewer features than spots and with more") {
  struct Size {
    size_t n, f, g;
  };
  for (auto [n, f, g] : {Size{90, 20, 3}, {40, 40, 2}, {30, 70, 4}, {300, 90, 7}, {2, 1, 1}})
    for (double lambda : {0.01, 0.7, 5.0}) {
      CAPTURE(n);
      CAPTURE(f);
      auto x = test::normal(n * f, 3), y = test::normal(n * g, 4);
      for (size_t i = 0; i < x.size(); i++) x[i] = x[i] * (1 + double(i % f)) + 10 * double(i % f);
      for (size_t i = 0; i < y.size(); i++) y[i] += 5 + x[i / g * f];
      const auto want = direct(x, y, n, f, g, lambda);
      const Tensor tx = view(x.data(), {int64_t(n), int64_t(f)}), ty = view(y.data(), {int64_t(n), int64_t(g)});
      const Ridge r = fit_ridge(tx, ty, lambda);
      CHECK(worst(r.weight, {want.begin(), want.begin() + int64_t(f * g)}) <= 1e-8);
      CHECK(worst(r.offset, {want.begin() + int64_t(f * g), want.end()}) <= 1e-6);
      Array out(ty.shape, DType::f64);
      r.predict(tx, out);
      for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < g; j++) {
          double sum = want[f * g + j];
          for (size_t k = 0; k < f; k++) sum += x[i * f + k] * want[k * g + j];
          CHECK(out.as<double>()[i * g + j] == doctest::Approx(sum).epsilon(1e-8));
        }
    }
}

TEST_CASE("ridge: the penalty is chosen by leaving groups out, as fits on each rest would choose it") {
  for (int64_t f : {12, 150}) {  // primal and dual
    const int64_t n = 120, g = 6;
    auto x = test::normal(size_t(n * f), 5), y = test::normal(size_t(n * g), 6);
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < g; j++) y[size_t(i * g + j)] += x[size_t(i * f + j)] + 3;
    std::vector<int32_t> group;
    for (int64_t i = 0; i < n; i++) group.push_back(int32_t(i * i % 7 % 3));
    const std::vector<double> lambdas(std::begin(kRidgeLambdas), std::end(kRidgeLambdas));
    const Tensor tx = view(x.data(), {n, f}), ty = view(y.data(), {n, g});
    const auto choice = choose_ridge(tx, ty, view(group.data(), {n}), lambdas);
    size_t best = 0;
    for (size_t l = 0; l < lambdas.size(); l++) {
      double mean = 0;
      for (int32_t out = 0; out < 3; out++) {
        std::vector<double> in_x, in_y, out_x, out_y;
        for (int64_t i = 0; i < n; i++) {
          auto& to_x = group[size_t(i)] == out ? out_x : in_x;
          auto& to_y = group[size_t(i)] == out ? out_y : in_y;
          to_x.insert(to_x.end(), x.begin() + i * f, x.begin() + (i + 1) * f);
          to_y.insert(to_y.end(), y.begin() + i * g, y.begin() + (i + 1) * g);
        }
        const int64_t inside = int64_t(in_x.size()) / f, outside = n - inside;
        const Ridge r = fit_ridge(view(in_x.data(), {inside, f}), view(in_y.data(), {inside, g}), lambdas[l]);
        Array p({outside, g}, DType::f64);
        r.predict(view(out_x.data(), {outside, f}), p);
        mean += score(p, view(out_y.data(), {outside, g})).mean_pearson / 3;
      }
      CHECK(choice.scores[l] == doctest::Approx(mean).epsilon(1e-7));
      if (choice.scores[l] > choice.scores[best]) best = l;
    }
    CHECK(choice.lambda == lambdas[best]);
  }
}

TEST_CASE("ridge: constant features, constant genes, numbers that are none") {
  std::vector<float> x(20 * 3, 7.0f), y;
  for (int i = 0; i < 40; i++) y.push_back(i % 2 ? 4.0f : float(i));
  const Tensor tx = view(x.data(), {20, 3}), ty = view(y.data(), {20, 2});
  const Ridge r = fit_ridge(tx, ty, 1);
  for (double w : r.weight) CHECK(w == 0);
  CHECK(r.offset[0] == doctest::Approx(19));
  CHECK(r.offset[1] == doctest::Approx(4));
  std::vector<int32_t> group(20, 0);
  CHECK_THROWS_AS(choose_ridge(tx, ty, view(group.data(), {20}), {1}), Error);
  group[3] = 1;
  CHECK_THROWS_AS(choose_ridge(tx, ty, view(group.data(), {20}), {1}), Error);  // nothing correlates with constants
  y[7] = NAN;
  try {
    fit_ridge(tx, ty, 1);
    FAIL("accepted NaN");
  } catch (const Error& e) {
    CHECK(e.code() == Exit::data);
    CHECK(std::string(e.what()) == "ridge: a target of row 3 is nan, expected a finite number");
  }
}

TEST_CASE("ridge: spatial blocks are even, compact and belong to barcodes") {
  auto layout = test::layouts()[3];  // 9 x 9 square
  const auto block = spatial_blocks(layout.points(), layout.ranks(), 4);
  for (int32_t b = 0; b < 4; b++) {
    const auto size = std::count(block.begin(), block.end(), b);
    CHECK(size >= 20);
    CHECK(size <= 21);
  }
  double low = 1e9, high = -1e9;
  for (size_t i = 0; i < block.size(); i++)
    if (block[i] == 0) low = std::min(low, layout.coords[2 * i]), high = std::max(high, layout.coords[2 * i]);
  CHECK(high - low <= 900);
  const auto to = test::shuffled(layout.n(), 9);
  auto moved = layout;
  for (size_t i = 0; i < to.size(); i++) {
    const auto j = size_t(to[i]);
    moved.rank[j] = layout.rank[i], moved.coords[2 * j] = layout.coords[2 * i], moved.coords[2 * j + 1] = layout.coords[2 * i + 1];
  }
  const auto again = spatial_blocks(moved.points(), moved.ranks(), 4);
  for (size_t i = 0; i < to.size(); i++) CHECK(again[size_t(to[i])] == block[i]);
}
