// What a model never saw is flagged; what is like its training sections is not.
#include "model/novelty.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/error.h"
#include "model/predictor.h"
#include "tests/check.h"
#include "tests/files.h"
#include "tests/model/synthetic.h"

using namespace stflow;

namespace {

constexpr int64_t kDim = 16;

/// Features as an encoder's: few directions in which tissue varies, a little noise in all, an offset of the section's own.
Slide tissue(const std::string& name, int64_t n, uint64_t seed) {
  Slide s;
  s.name = name, s.dim = kDim;
  const std::vector<double> latent = test::normal(size_t(n * 3), seed), noise = test::normal(size_t(n * kDim), seed + 1),
                            mix = test::normal(size_t(3 * kDim), 5), stain = test::normal(size_t(kDim), seed + 2);
  for (int64_t i = 0; i < n; i++) {
    s.spots.push_back(std::to_string(i));
    for (int64_t k = 0; k < kDim; k++) {
      double v = 0.1 * noise[size_t(i * kDim + k)] + 0.1 * stain[size_t(k)] + 2;
      for (int64_t l = 0; l < 3; l++) v += latent[size_t(i * 3 + l)] * mix[size_t(l * kDim + k)];
      s.features.push_back(float(v));
    }
  }
  return s;
}

double share(const std::vector<uint8_t>& novel) {
  double sum = 0;
  for (const uint8_t v : novel) sum += v;
  return sum / double(novel.size());
}

/// The nearest distances by their definition.
std::vector<double> nearest(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<double> out;
  for (size_t i = 0; i < a.size(); i += kDim) {
    double least = 1e300;
    for (size_t j = 0; j < b.size(); j += kDim) {
      double sum = 0;
      for (size_t k = 0; k < kDim; k++) sum += (double(a[i + k]) - double(b[j + k])) * (double(a[i + k]) - double(b[j + k]));
      least = std::min(least, sum);
    }
    out.push_back(std::sqrt(least));
  }
  return out;
}

}  // namespace

TEST_CASE("novelty: training spots and a new section of their kind are inside, white patches and random features are not") {
  const std::vector<Slide> train{tissue("A", 300, 10), tissue("B", 280, 20), tissue("C", 320, 30)};
  const FeaturePipeline p = FeaturePipeline::fit(pointers(train), {}, true);
  const Novelty n = Novelty::fit(pointers(train), p.scale, 1);
  CHECK(n.size() == 900);
  CHECK(std::is_sorted(n.distances.begin(), n.distances.end()));
  for (const Slide& s : train) CHECK(share(n.score(s.features, p.scale).novel) == 0);  // each is a reference itself
  const NoveltyScores fresh = n.score(tissue("D", 400, 40).features, p.scale);
  CHECK(share(fresh.novel) < 0.1);
  double mean = 0;
  for (const float r : fresh.ratio) mean += double(r) / 400;
  CHECK(mean > 0.5);
  CHECK(mean < 2);

  std::vector<float> white(size_t(20 * kDim), -6.0f), random;
  for (const double v : test::normal(size_t(50 * kDim), 77)) random.push_back(float(2 + 2 * v));
  CHECK(share(n.score(white, p.scale).novel) == 1);
  CHECK(n.score(white, p.scale).ratio[0] > 5);
  CHECK(share(n.score(random, p.scale).novel) > 0.95);
}

TEST_CASE("novelty: distances are those of the definition, between sections, or between spots of a lone one") {
  std::vector<Slide> train{tissue("A", 40, 10), tissue("B", 30, 20)};
  const Standardizer none;
  const Novelty n = Novelty::fit(pointers(train), none, 1);
  std::vector<double> expected = nearest(train[0].features, train[1].features);
  for (const double d : nearest(train[1].features, train[0].features)) expected.push_back(d);
  std::sort(expected.begin(), expected.end());
  REQUIRE(n.distances.size() == 70);
  for (size_t i = 0; i < 70; i++) CHECK(n.distances[i] == doctest::Approx(expected[i]).epsilon(1e-6));

  const Slide other = tissue("D", 300, 40);
  const NoveltyScores scores = n.score(other.features, none);
  std::vector<float> all = train[0].features;
  all.insert(all.end(), train[1].features.begin(), train[1].features.end());
  const std::vector<double> by_hand = nearest(other.features, all);
  const double median = (n.distances[34] + n.distances[35]) / 2;
  for (size_t i = 0; i < 300; i++) {
    CHECK(double(scores.ratio[i]) == doctest::Approx(by_hand[i] / median).epsilon(1e-5));
    CHECK((scores.novel[i] != 0) == (by_hand[i] > n.distances[69]));
  }
  train.pop_back();
  const Novelty lone = Novelty::fit(pointers(train), none, 1);
  CHECK(lone.distances.size() == 40);
  CHECK(lone.distances[0] > 0);
}

TEST_CASE("novelty: at most 1,024 references, drawn by the seed; one spot makes none") {
  const std::vector<Slide> train{tissue("A", 900, 10), tissue("B", 700, 20)};
  const Standardizer none;
  const Novelty a = Novelty::fit(pointers(train), none, 1), b = Novelty::fit(pointers(train), none, 2);
  CHECK(a.size() == 1024);
  CHECK(a.features.size() == size_t(1024 * kDim));
  CHECK(a.features != b.features);
  CHECK(a.features == Novelty::fit(pointers(train), none, 1).features);
  int64_t of_first = 0;
  const std::vector<double> d = nearest(a.features, train[0].features);
  for (const double v : d) of_first += v == 0;
  CHECK(of_first == doctest::Approx(1024 * 900 / 1600).epsilon(0.08));
  const std::vector<Slide> one{tissue("A", 1, 10)};
  CHECK_FALSE(Novelty::fit(pointers(one), none, 1).active());
}

TEST_CASE("novelty: the same bits in any order of spots and at any thread count") {
  const std::vector<Slide> train{tissue("A", 300, 10), tissue("B", 30, 20)};
  const Standardizer none;
  const Novelty n = Novelty::fit(pointers(train), none, 1);
  const Slide s = tissue("D", 333, 40);
  const NoveltyScores whole = n.score(s.features, none);
  const std::vector<float> tail(s.features.begin() + 17 * kDim, s.features.end());
  test::with_threads([&](int) {
    CHECK(n.score(s.features, none).ratio == whole.ratio);
    CHECK(n.score(tail, none).ratio == std::vector<float>(whole.ratio.begin() + 17, whole.ratio.end()));
    CHECK(Novelty::fit(pointers(train), none, 1).distances == n.distances);
  });
  CHECK(n.score({}, none).ratio.empty());
}

TEST_CASE("bad input: features that are not finite have no distance") {
  const std::vector<Slide> train{tissue("A", 30, 10)};
  const Novelty n = Novelty::fit(pointers(train), {}, 1);
  std::vector<float> bad = train[0].features;
  bad[size_t(3 * kDim)] = NAN;
  test::refuses(Exit::data, "features: spot 4 has one that is not finite, expected numbers", "", [&] { (void)n.score(bad, {}); });
}
