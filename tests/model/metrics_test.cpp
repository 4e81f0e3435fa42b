#include "model/metrics.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/threads.h"
#include "tests/check.h"

using namespace stflow;

TEST_CASE("metrics: correlations and errors by hand") {
  // genes: exact line, reversed, constant truth, constant prediction, monotone but not linear
  std::vector<double> prediction = {1, 4, 1, 7, 1, 2, 3, 2, 7, 4, 3, 2, 4, 7, 9, 4, 1, 3, 7, 16};
  std::vector<double> truth = {3, 1, 5, 1, 1, 5, 2, 5, 2, 2, 7, 3, 5, 4, 3, 9, 4, 5, 3, 4};
  const Tensor p = view(prediction.data(), {4, 5}), t = view(truth.data(), {4, 5});
  const Scores s = score(p, t, true);
  CHECK(s.pearson[0] == doctest::Approx(1));
  CHECK(s.pearson[1] == doctest::Approx(-1));
  CHECK(std::isnan(s.pearson[2]));
  CHECK(std::isnan(s.pearson[3]));
  CHECK(s.pearson[4] == doctest::Approx(25 / std::sqrt(5 * 129.0)));
  CHECK(s.spearman[4] == doctest::Approx(1));
  CHECK(s.spearman[1] == doctest::Approx(-1));
  CHECK(s.undefined == 2);
  CHECK(s.mean_pearson == doctest::Approx(s.pearson[4] / 3));
  CHECK(s.mean_spearman == doctest::Approx(1.0 / 3));
  CHECK(s.mse[0] == doctest::Approx((4 + 9 + 16 + 25) / 4.0));
  CHECK(s.mean_mse == doctest::Approx((s.mse[0] + s.mse[1] + s.mse[2] + s.mse[3] + s.mse[4]) / 5));

  std::vector<float> small(prediction.begin(), prediction.end());
  CHECK(score(view(small.data(), {4, 5}), t).pearson[4] == doctest::Approx(s.pearson[4]));
  std::vector<double> same(8, 2.0);
  CHECK(std::isnan(score(view(same.data(), {4, 2}), view(same.data(), {4, 2})).mean_pearson));
  CHECK(std::isnan(score(view(same.data(), {0, 2}), view(same.data(), {0, 2})).mean_mse));
}

TEST_CASE("metrics: ranks share ties, a large offset does not hurt, threads change nothing") {
  const double x[] = {3, 1, 3, 9, 3, 1};
  CHECK(ranks(x, 6) == std::vector<double>{4, 1.5, 4, 6, 4, 1.5});
  auto a = test::normal(3000, 1), b = test::normal(3000, 2);
  for (size_t i = 0; i < a.size(); i++) b[i] += a[i];
  const Tensor p = view(a.data(), {1000, 3}), t = view(b.data(), {1000, 3});
  set_thread_count(1);
  const auto one = score(p, t, true);
  set_thread_count(3);
  CHECK(score(p, t, true).pearson == one.pearson);
  CHECK(score(p, t, true).spearman == one.spearman);
  set_thread_count(0);
  CHECK(one.mean_pearson == doctest::Approx(std::sqrt(0.5)).epsilon(0.05));
  for (double& v : a) v += 1e8;
  CHECK(score(p, t).mean_pearson == doctest::Approx(one.mean_pearson).epsilon(1e-6));
}
