#include "ops/zinb.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/cuda/emulate.h"
#include "engine/storage.h"
#include "engine/threads.h"
#include "ops/gaussian.h"
#include "ops/special.h"
#include "tests/ops/layouts.h"

using namespace stflow;

namespace {

/// Upper tail of chi-square: the regularised incomplete gamma function by its series or its continued fraction.
double chi_square_tail(double x, double degrees) {
  const double a = degrees / 2, z = x / 2, front = std::exp(a * std::log(z) - z - log_gamma(a));
  if (z < a + 1) {
    double term = 1 / a, sum = term;
    for (int i = 1; i < 100000 && term > 1e-16 * sum; i++) term *= z / (a + i), sum += term;
    return 1 - front * sum;
  }
  double b = z + 1 - a, c = 1e300, d = 1 / b, h = d;
  for (int i = 1; i < 100000; i++) {
    const double an = -i * (i - a);
    b += 2, d = 1 / (an * d + b), c = b + an / c;
    h *= d * c;
    if (std::fabs(d * c - 1) < 1e-15) break;
  }
  return front * h;
}

/// Upper tail of the Kolmogorov distribution at D * sqrt(n).
double kolmogorov_tail(double x) {
  double sum = 0;
  for (int i = 1; i <= 100; i++) sum += (i % 2 ? 2 : -2) * std::exp(-2.0 * i * i * x * x);
  return x < 0.2 ? 1 : sum;
}

/// P24: draws against the distribution they claim.
void distribution(const Zinb& z, int64_t n, uint64_t seed) {
  CAPTURE(z.mu);
  CAPTURE(z.theta);
  CAPTURE(z.pi);
  const RandomKey key(seed, Stream::prior, 3, 1);
  std::vector<double> x(static_cast<size_t>(n));
  const int64_t row = 1000;  // as a slide of n / 1000 spots and 1000 genes
  parallel_for(n, 4096, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) x[size_t(i)] = draw_zinb(z, key, uint32_t(i / row), uint32_t(i % row));
  });
  double mean = 0, var = 0;
  for (double v : x) mean += v / double(n);
  for (double v : x) var += (v - mean) * (v - mean) / double(n);

  // The distribution as a table, out to where nothing is left, and its central moments.
  std::vector<double> pmf, cdf;
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double k = 0; k <= top || 1 - sum > 1e-13; k++) {
    pmf.push_back(std::exp(log_likelihood(z, k)));
    cdf.push_back(sum += pmf.back());
    REQUIRE(pmf.size() < 4000000);
    if (k > top && pmf.back() < 1e-16 * z.pi + 1e-18) break;
  }
  CHECK(sum == doctest::Approx(1).epsilon(1e-9));
  const double want_mean = (1 - z.pi) * z.mu, want_var = (1 - z.pi) * z.mu * (1 + z.mu / z.theta + z.pi * z.mu);
  const double want_zero = z.pi + (1 - z.pi) * std::pow(z.theta / (z.theta + z.mu), z.theta);
  double fourth = 0;
  for (size_t k = 0; k < pmf.size(); k++) fourth += pmf[k] * std::pow(double(k) - want_mean, 4);
  const double zeros = double(std::count(x.begin(), x.end(), 0.0)) / double(n);
  CHECK(pmf[0] == doctest::Approx(want_zero).epsilon(1e-12));
  CHECK(std::fabs(mean - want_mean) <= 4.5 * std::sqrt(want_var / double(n)));
  CHECK(std::fabs(var - want_var) <= 4.5 * std::sqrt((fourth - want_var * want_var) / double(n)));
  CHECK(std::fabs(zeros - want_zero) <= 4.5 * std::sqrt(want_zero * (1 - want_zero) / double(n)));

  std::vector<double> seen(pmf.size(), 0);
  for (double v : x) {
    REQUIRE(v == std::floor(v));
    seen[size_t(v)]++;
  }
  double square = 0, bins = -1, expected = 0, observed = 0, past = 0;
  for (size_t k = 0; k < pmf.size(); k++) {  // neighbouring counts join until ten are expected
    expected += double(n) * pmf[k], observed += seen[k];
    if (expected < 10 || double(n) * (1 - past) - expected < 10) continue;
    square += (observed - expected) * (observed - expected) / expected, bins++;
    past += expected / double(n), expected = observed = 0;
  }
  expected = double(n) * (1 - past);
  square += (observed - expected) * (observed - expected) / expected, bins++;
  CHECK(chi_square_tail(square, bins) > 1e-4);

  const RandomKey other(seed, Stream::test, 9);
  for (int64_t i = 0; i < n; i++) {  // uniform if x follows the table
    const auto k = size_t(x[size_t(i)]);
    const auto r = other.draw(uint64_t(i));
    x[size_t(i)] = cdf[k] - pmf[k] * open01(r.v[0], r.v[1]);
  }
  std::sort(x.begin(), x.end());
  double apart = 0;
  for (int64_t i = 0; i < n; i++) apart = std::max({apart, double(i + 1) / double(n) - x[size_t(i)], x[size_t(i)] - double(i) / double(n)});
  CHECK(kolmogorov_tail(apart * std::sqrt(double(n))) > 1e-4);
}

void distributions(int64_t n) {
  uint64_t seed = 40;
  for (double mu : {0.05, 1.105170918, 12.0, 300.0})
    for (double theta : {0.1, 1.0, 50.0})
      for (double pi : {0.0, 0.4}) distribution({mu, theta, pi}, n, seed++);
}

Array to_device(const Tensor& host) {
  Array there(host.shape, host.type, Device::cuda);
  copy(Device::cuda, there.tensor().data, Device::cpu, host.data, host.bytes());
  return there;
}

/// REQUIREs the same bytes of a host's and a device's draw (n, G), in every order of threads.
template <class F> void same_on_device(Shape shape, F draw) {
  Array here(shape, DType::f32), back(shape, DType::f32);
  draw(Context{}, here);
  for (auto order : {emulator::Order::ascending, emulator::Order::descending, emulator::Order::shuffled}) {
    const Array there(shape, DType::f32, Device::cuda);
    emulator::set_order(order);
    draw(Context{.device = Device::cuda}, there);
    emulator::set_order(emulator::Order::ascending);
    copy(Device::cpu, back.tensor().data, Device::cuda, there.tensor().data, there.tensor().bytes());
    REQUIRE(std::memcmp(here.tensor().data, back.tensor().data, here.tensor().bytes()) == 0);
  }
}

}  // namespace

TEST_CASE("special: log-gamma and digamma") {
  CHECK(log_gamma(0.5) == doctest::Approx(0.5 * std::log(M_PI)).epsilon(1e-14));
  CHECK(log_gamma(1e-3) == doctest::Approx(6.907178885383853).epsilon(1e-14));
  CHECK(std::fabs(log_gamma(1)) <= 1e-14);
  CHECK(log_gamma(101) == doctest::Approx(363.73937555556349).epsilon(1e-14));
  CHECK(digamma(1) == doctest::Approx(-0.57721566490153286).epsilon(1e-14));
  CHECK(digamma(0.5) == doctest::Approx(-0.57721566490153286 - 2 * std::log(2)).epsilon(1e-14));
  for (double x : {0.003, 0.7, 3.3, 9.9, 10.1, 250.0, 1e6}) {
    CHECK(log_gamma(x + 1) - log_gamma(x) == doctest::Approx(std::log(x)).epsilon(1e-8));
    CHECK((log_gamma(x * 1.0001) - log_gamma(x * 0.9999)) / (2e-4 * x) == doctest::Approx(digamma(x)).epsilon(1e-6));
  }
}

TEST_CASE("zinb: 24 distributions, 100,000 draws each") { distributions(100000); }

TEST_CASE("slow: zinb: 24 distributions, a million draws each") { distributions(1000000); }

TEST_CASE("zinb: the reference's parameters") {
  const Zinb z = zinb_of_logits(1, 0.1, 0);
  CHECK(z.mu == doctest::Approx(1.10517091807565));
  CHECK(z.pi == 0.5);
  CHECK(std::exp(log_likelihood(z, 0)) == doctest::Approx(0.7375).epsilon(1e-4));
}

TEST_CASE("zinb: extreme parameters neither hang nor give NaN") {
  const RandomKey key(3, Stream::prior);
  for (double mu : {0.0, 1e-6, 1.0, 9.9, 10.0, 1e3, 1e6})
    for (double theta : {1e-3, 0.3, 1.0, 1e3, 1e6})
      for (double pi : {0.0, 0.5, 1.0}) {
        CAPTURE(mu);
        CAPTURE(theta);
        CAPTURE(pi);
        const Zinb z{mu, theta, pi};
        double sum = 0;
        const int n = 4000;
        for (uint32_t i = 0; i < n; i++) {
          const double x = draw_zinb(z, key, 0xffffff00u + i, 0xffffffu);
          REQUIRE(std::isfinite(x));
          REQUIRE(x >= 0);
          REQUIRE(!std::isnan(log_likelihood(z, x)));
          sum += x;
        }
        if (pi == 1 || mu == 0) REQUIRE(sum == 0);
        const double variance = (1 - pi) * mu * (1 + mu / theta + pi * mu);
        if (theta >= 1) CHECK(std::fabs(sum / n - (1 - pi) * mu) <= 5 * std::sqrt(variance / n) + 1e-2 * (mu < 1e-3));
      }
}

TEST_CASE("zinb: draws belong to barcodes, not to rows, threads or tables") {
  const int64_t n = 300, genes = 7;
  std::vector<Zinb> table;
  for (int g = 0; g < genes; g++) table.push_back({0.5 + 30.0 * g, 0.4 + g, 0.1 * g});
  auto rank = test::shuffled(n, 1), to = test::shuffled(n, 2), moved = rank;
  for (size_t i = 0; i < to.size(); i++) moved[size_t(to[i])] = rank[i];
  Array a({n, genes}, DType::f32), b({n, genes}, DType::f32), c({n, genes}, DType::f64), one({n, 1}, DType::f64);
  const RandomKey key(12, Stream::prior, 4);
  set_thread_count(1);
  sample_zinb(table, view(rank.data(), {n}), key, false, a);
  set_thread_count(3);
  sample_zinb(table, view(moved.data(), {n}), key, false, b);
  sample_zinb(table, view(rank.data(), {n}), key, true, c);
  sample_zinb({table[0]}, view(rank.data(), {n}), key, false, one);
  set_thread_count(0);
  for (int64_t i = 0; i < n; i++) {
    REQUIRE(std::memcmp(a.as<float>() + i * genes, b.as<float>() + to[size_t(i)] * genes, genes * 4) == 0);
    REQUIRE(one.as<double>()[i] == double(a.as<float>()[i * genes]));
    for (int64_t g = 0; g < genes; g++) REQUIRE(c.as<double>()[i * genes + g] == std::log1p(double(a.as<float>()[i * genes + g])));
  }
  Array other({n, genes}, DType::f32);
  sample_zinb(table, view(rank.data(), {n}), RandomKey(12, Stream::prior, 5), false, other);
  CHECK(std::memcmp(a.tensor().data, other.tensor().data, a.tensor().bytes()) != 0);
}

TEST_CASE("zinb: drawn as logarithms and scaled, in float64 from the stored number on") {
  const int64_t n = 40, genes = 3;
  const std::vector<Zinb> table = {{0.5, 1, 0}, {30, 0.4, 0.1}, {300, 8, 0}};
  auto rank = test::shuffled(n, 5);
  std::vector<double> mean = {0.3, 2.1, 5.5}, sd = {0.7, 1.3, 0.4};
  const RandomKey key(21, Stream::prior, 1);
  Array plain({n, genes}, DType::f32), scaled({n, genes}, DType::f32);
  sample_zinb(table, view(rank.data(), {n}), key, true, plain);
  sample_zinb(Context{}, zinb_table(table), view(rank.data(), {n}), key, true, view(mean.data(), {genes}), view(sd.data(), {genes}),
              scaled);
  for (int64_t i = 0; i < n * genes; i++)
    REQUIRE(scaled.as<float>()[i] == float((double(plain.as<float>()[i]) - mean[size_t(i % genes)]) / sd[size_t(i % genes)]));
}

TEST_CASE("zinb, gaussian: the same bytes on the emulated CUDA back end") {
  const int64_t n = 301, genes = 7;
  std::vector<Zinb> table;
  for (int g = 0; g < genes; g++) table.push_back({0.5 + 30.0 * g, 0.4 + g, 0.1 * g});
  auto rank = test::shuffled(n, 3);
  std::vector<double> mean, sd;
  for (int g = 0; g < genes; g++) mean.push_back(0.3 * g), sd.push_back(1 + 0.1 * g);
  const Tensor ranks = view(rank.data(), {n}), means = view(mean.data(), {genes}), deviations = view(sd.data(), {genes});
  const Array ranks_there = to_device(ranks), means_there = to_device(means), deviations_there = to_device(deviations);
  const RandomKey key(12, Stream::prior, 4, 9);
  for (const auto& distributions : {table, {table[3]}}) {
    const Array there = to_device(zinb_table(distributions));
    same_on_device({n, genes}, [&](const Context& c, const Tensor& out) {
      if (c.device == Device::cpu) sample_zinb(distributions, ranks, key, false, out);
      else sample_zinb(c, there, ranks_there, key, false, {}, {}, out);
    });
    same_on_device({n, genes}, [&](const Context& c, const Tensor& out) {
      if (c.device == Device::cpu) sample_zinb(c, zinb_table(distributions), ranks, key, true, means, deviations, out);
      else sample_zinb(c, there, ranks_there, key, true, means_there, deviations_there, out);
    });
  }
  same_on_device({n, genes}, [&](const Context& c, const Tensor& out) {
    sample_gaussian(c, c.device == Device::cpu ? ranks : ranks_there.tensor(), key, out);
  });
  const Array none({0}, DType::i32, Device::cuda);
  same_on_device({0, genes}, [&](const Context& c, const Tensor& out) { sample_gaussian(c, none, key, out); });
}

TEST_CASE("gaussian: draws belong to barcodes and are normal") {
  const int64_t n = 4000, genes = 25;
  auto rank = test::shuffled(n, 8);
  const RandomKey key(31, Stream::prior, 2);
  Array out({n, genes}, DType::f64);
  sample_gaussian({}, view(rank.data(), {n}), key, out);
  double moment[5] = {};
  for (int64_t i = 0; i < n; i++)
    for (int64_t g = 0; g < genes; g++) {
      const double x = out.as<double>()[i * genes + g];
      REQUIRE(x == draw_gaussian(key, uint32_t(rank[size_t(i)]), uint32_t(g)));
      for (int k = 1; k <= 4; k++) moment[k] += std::pow(x, k) / double(n * genes);
    }
  const double error = 4.5 / std::sqrt(double(n * genes));  // the k-th power has variance 1, 2, 15, 96
  CHECK(std::fabs(moment[1]) <= error);
  CHECK(std::fabs(moment[2] - 1) <= error * std::sqrt(2.0));
  CHECK(std::fabs(moment[3]) <= error * std::sqrt(15.0));
  CHECK(std::fabs(moment[4] - 3) <= error * std::sqrt(96.0));
}

TEST_CASE("zinb, gaussian: refuse tables that do not fit") {
  Array out({4, 3}, DType::f32), rank({4}, DType::i32), short_rank({3}, DType::i32), mean({2}, DType::f64);
  const std::vector<Zinb> two(2), three(3);
  CHECK_THROWS_AS(sample_zinb(two, rank, {}, false, out), Error);
  CHECK_THROWS_AS(sample_zinb(three, short_rank, {}, false, out), Error);
  CHECK_THROWS_AS(sample_zinb(Context{}, zinb_table(three), rank, {}, false, mean, mean, out), Error);
  CHECK_THROWS_AS(zinb_table({{1, 0, 0}}), Error);
  CHECK_THROWS_AS(sample_gaussian({}, short_rank, {}, out), Error);
}

TEST_CASE("zinb: the fit finds planted parameters, with depth, and exact zero inflation where there is none") {
  const std::vector<Zinb> planted = {{2, 1.5, 0},  {20, 4, 0},   {0.8, 0.7, 0}, {15, 3, 0.4},
                                     {6, 8, 0.25}, {200, 20, 0}, {0.01, 1, 0},  {0, 1, 0}};
  const int64_t n = 4000, genes = int64_t(planted.size());
  std::vector<double> depth, counts;
  const RandomKey key(77, Stream::test);
  for (int64_t i = 0; i < n; i++) {
    const auto r = key.draw(uint64_t(i));
    depth.push_back(i % 100 == 99 ? 0 : std::exp(1.2 * (open01(r.v[0], r.v[1]) - 0.5)));
    for (int64_t g = 0; g < genes; g++) {
      Zinb z = planted[size_t(g)];
      z.mu *= depth.back();
      counts.push_back(draw_zinb(z, RandomKey(78, Stream::test), uint32_t(i), uint32_t(g)));
    }
  }
  set_thread_count(1);
  const auto fit = fit_zinb(view(counts.data(), {n, genes}), view(depth.data(), {n}));
  set_thread_count(2);
  const auto again = fit_zinb(view(counts.data(), {n, genes}), view(depth.data(), {n}));
  set_thread_count(0);
  for (size_t g = 0; g < planted.size(); g++) {
    CAPTURE(g);
    CHECK(fit[g].mu == again[g].mu);
    CHECK(fit[g].theta == again[g].theta);
    CHECK(fit[g].pi == again[g].pi);
  }
  for (size_t g = 0; g < 6; g++) {
    CAPTURE(g);
    CHECK(fit[g].mu == doctest::Approx(planted[g].mu).epsilon(0.08));
    CHECK(fit[g].theta == doctest::Approx(planted[g].theta).epsilon(0.2));
    CHECK(std::fabs(fit[g].pi - planted[g].pi) <= 0.06);  // three standard errors of the overdispersed genes
  }
  CHECK(fit[1].pi < 0.002);
  CHECK(fit[5].pi == 0);  // no zeros at all
  CHECK(fit[6].mu == doctest::Approx(0.01).epsilon(0.5));
  CHECK(fit[6].theta > 0.2);  // pulled to the other genes
  CHECK(fit[6].pi < 0.2);
  CHECK(fit[7].mu > 0);
  CHECK(fit[7].mu < 0.01);
  CHECK(fit[7].pi == 0);

  // No better point nearby: what was found is a maximum of the likelihood (the priors weigh next to nothing here).
  for (size_t g : {0u, 3u}) {
    auto likelihood = [&](Zinb z) {
      double sum = 0;
      for (int64_t i = 0; i < n; i++)
        if (depth[size_t(i)] > 0) sum += log_likelihood({z.mu * depth[size_t(i)], z.theta, z.pi}, counts[size_t(i * genes) + g]);
      return sum;
    };
    const double best = likelihood(fit[g]);
    for (double up : {0.97, 1.03}) {
      CHECK(likelihood({fit[g].mu * up, fit[g].theta, fit[g].pi}) < best);
      CHECK(likelihood({fit[g].mu, fit[g].theta * up * up, fit[g].pi}) < best);
      if (fit[g].pi > 0) CHECK(likelihood({fit[g].mu, fit[g].theta, fit[g].pi * up}) < best);
    }
  }
}

TEST_CASE("zinb: moments of the negative binomial") {
  std::vector<float> counts = {0, 3, 3, 0, 4, 3, 0, 2, 3, 0, 5, 3, 0, 1, 3};  // zero, narrower than Poisson, constant
  const auto fit = fit_nb_moments(view(counts.data(), {5, 3}));
  CHECK(fit[0].mu == 0);
  CHECK(fit[2].mu == doctest::Approx(3));
  CHECK(fit[2].theta == 100);  // v < m
  CHECK(fit[1].mu == doctest::Approx(3));
  CHECK(fit[1].theta == 100);
  std::vector<double> wide = {0, 0, 0, 8};
  const auto over = fit_nb_moments(view(wide.data(), {4, 1}));
  CHECK(over[0].theta == doctest::Approx(4.0 / (12 - 2)));
}
