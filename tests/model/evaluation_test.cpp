// Scores and calibration beside numpy's and scipy's (tests/fixtures/make_evaluation_golden.py).
#include "model/evaluation.h"

#include <doctest/doctest.h>

#include <cmath>
#include <deque>
#include <nlohmann/json.hpp>

#include "engine/json.h"
#include "engine/threads.h"
#include "model/calibration.h"
#include "tests/check.h"

using namespace stflow;

namespace {

const Json& golden() {
  static const Json json = read_json("tests/fixtures/evaluation_golden.json");
  return json;
}

/// A matrix of the golden file as float.
struct Matrix {
  std::vector<float> values;
  Tensor tensor;
  explicit Matrix(const Json& numbers) : values(numbers.get<std::vector<float>>()) {
    const auto genes = golden()["genes"].get<int64_t>();
    tensor = view(values.data(), {int64_t(values.size()) / genes, genes});
  }
  Matrix(const Matrix&) = delete;
};

/// null is NaN.
void same(const std::string& what, const std::vector<double>& found, const Json& expected) {
  CAPTURE(what);
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); i++) {
    CAPTURE(i);
    if (expected[i].is_null()) CHECK(std::isnan(found[i]));
    else CHECK(found[i] == doctest::Approx(expected[i].get<double>()).epsilon(1e-9));
  }
}

void same(const Scores& found, const Json& expected) {
  same("pearson", found.pearson, expected["pearson"]);
  same("spearman", found.spearman, expected["spearman"]);
  same("mse", found.mse, expected["mse"]);
  same("mae", found.mae, expected["mae"]);
  same("r2", found.r2, expected["r2"]);
}

void same(const Calibration& found, const Json& expected, const std::string& from) {
  CHECK(found.pit_from == from);
  CHECK(found.crps_from == from);
  CHECK(found.crps == doctest::Approx(expected["crps"].get<double>()).epsilon(1e-9));
  same("pit", found.pit, expected["pit"]);
  std::vector<double> shares;
  for (const auto& c : found.coverage) {
    CHECK(c.from == from);
    shares.push_back(c.share);
  }
  same("coverage", shares, expected["coverage"]);
}

}  // namespace

TEST_CASE("evaluation: scores of all spots, of each slide, and bootstrap intervals are scipy's") {
  const Matrix p(golden()["prediction"]), t(golden()["truth"]);
  const auto slides = golden()["slides"].get<std::vector<int64_t>>();
  BootstrapOptions bootstrap;
  bootstrap.replicates = golden()["replicates"].get<int>(), bootstrap.seed = golden()["seed"].get<uint64_t>();
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    const Evaluation e = evaluate(p.tensor, t.tensor, {slides[0], slides[0] + slides[1]}, bootstrap);
    same(e.pooled, golden()["pooled"]);
    CHECK(e.pooled.undefined == 1);
    REQUIRE(e.slides.size() == 2);
    for (size_t s = 0; s < 2; s++) same(e.slides[s], golden()["slide"][s]);
    CHECK(e.slides[0].undefined == 2);
    REQUIRE(e.pearson.size() == 5);
    for (size_t g = 0; g < 5; g++) same("interval", {e.pearson[g].low, e.pearson[g].high}, golden()["intervals"][g]);
    same("interval of the mean", {e.mean_pearson.low, e.mean_pearson.high}, golden()["interval_of_mean"]);
  }
  set_thread_count(0);
  bootstrap.replicates = 0;
  CHECK(evaluate(p.tensor, t.tensor, {slides[0] + slides[1]}, bootstrap).pearson.empty());
}

TEST_CASE("evaluation: an interval holds the known correlation about as often as it says") {
  const std::vector<double> noise = test::normal(8000, 3);  // 40 genes of 100 spots: x, and y = x + as much noise
  std::vector<double> x(4000), y(4000);
  for (size_t i = 0; i < 4000; i++) x[i] = noise[i], y[i] = noise[i] + noise[4000 + i];
  BootstrapOptions bootstrap;
  bootstrap.replicates = 200, bootstrap.level = 0.8;
  const Evaluation e = evaluate(view(x.data(), {100, 40}), view(y.data(), {100, 40}), {60, 100}, bootstrap);
  int inside = 0;
  for (const Interval& i : e.pearson) inside += i.low <= std::sqrt(0.5) && std::sqrt(0.5) <= i.high;
  CHECK(inside >= 24);
  CHECK(inside <= 39);
}

TEST_CASE("calibration: of draws, of quantiles and of a normal distribution are numpy's and scipy's") {
  const Matrix t(golden()["truth"]), mean(golden()["prediction"]), sd(golden()["sd"]), q05(golden()["q05"]), q95(golden()["q95"]);
  std::deque<Matrix> draws;
  Uncertainty u;
  for (const Json& d : golden()["draws"]) u.draws.push_back(draws.emplace_back(d).tensor);
  u.mean = mean.tensor, u.sd = sd.tensor;
  u.quantiles = {{0.05, q05.tensor}, {0.95, q95.tensor}};
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    same(calibrate(u, t.tensor), golden()["from_draws"], "draws");
  }
  set_thread_count(0);
  u.draws.resize(1);  // one draw has no spread
  Uncertainty normal = u;
  normal.quantiles.clear();
  same(calibrate(normal, t.tensor), golden()["from_normal"], "normal");
  const Calibration mixed = calibrate(u, t.tensor);
  CHECK(mixed.coverage[2].from == "quantiles");
  CHECK(mixed.coverage[2].share == doctest::Approx(golden()["coverage_from_quantiles"].get<double>()));
  CHECK(mixed.coverage[0].from == "normal");
  CHECK(mixed.coverage[0].share == doctest::Approx(golden()["from_normal"]["coverage"][0].get<double>()));

  u.sd = {};
  const Calibration bounds = calibrate(u, t.tensor);
  CHECK(bounds.coverage[2].share == mixed.coverage[2].share);
  CHECK(bounds.coverage[0].from.empty());
  CHECK(std::isnan(bounds.coverage[0].share));
  CHECK(bounds.pit.empty());
  CHECK(std::isnan(bounds.crps));
  CHECK(calibrate({}, t.tensor).coverage[1].from.empty());
}

TEST_CASE("calibration: a right distribution is flat, a certain one is judged by its error") {
  const std::vector<double> noise = test::normal(20'000, 4);
  std::vector<float> truth(noise.begin(), noise.end()), mean(20'000, 0.0f), sd(20'000, 1.0f);
  Uncertainty u;
  u.mean = view(mean.data(), {5000, 4}), u.sd = view(sd.data(), {5000, 4});
  const Tensor t = view(truth.data(), {5000, 4});
  const Calibration right = calibrate(u, t);
  for (const auto& c : right.coverage) CHECK(c.share == doctest::Approx(c.level).epsilon(0.02));
  for (const double share : right.pit) CHECK(share == doctest::Approx(0.05).epsilon(0.15));
  for (float& v : sd) v = 0;
  const Calibration certain = calibrate(u, t);
  CHECK(certain.crps == doctest::Approx(std::sqrt(2 / 3.14159265)).epsilon(0.02));
  CHECK(certain.coverage[2].share == 0);
  CHECK(certain.pit.front() + certain.pit.back() == doctest::Approx(1));
  mean = truth;
  const Calibration exact = calibrate(u, t);
  CHECK(exact.crps == 0);
  CHECK(exact.coverage[0].share == 1);
  CHECK(exact.pit[7] == doctest::Approx(0.05));
}
