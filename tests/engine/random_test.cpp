#include "engine/random.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace stflow;

TEST_CASE("random: Philox4x32-10 gives the known answers of Random123") {
  struct Known {
    Philox4 counter;
    uint32_t k0, k1;
    Philox4 want;
  };
  const Known known[] = {
      {{{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
      {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffff, 0xffffffff, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
      {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0, {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
  };
  for (const Known& k : known) {
    const Philox4 got = philox(k.counter, k.k0, k.k1);
    for (int i = 0; i < 4; i++) CHECK(got.v[i] == k.want.v[i]);
  }
}

TEST_CASE("random: uniform numbers do not correlate over lags, words, steps, slots, streams or seeds") {
  const int n = 100000;
  const double bound = 4.5 / std::sqrt(double(n));  // correlations of independent numbers have standard deviation 1/sqrt(n)
  auto numbers = [&](RandomKey key, int word) {
    std::vector<double> v;
    for (int i = 0; i < n; i++) v.push_back(double(uniform01(key.draw(uint64_t(i)).v[word])) - 0.5);
    return v;
  };
  auto correlation = [&](const std::vector<double>& a, const std::vector<double>& b, int lag) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[size_t(i)] * b[size_t((i + lag) % n)];
    return 12 * sum / n;
  };
  const auto base = numbers(RandomKey(1, Stream::prior, 5, 2), 0);
  double mean = 0;
  for (double x : base) mean += x / n;
  CHECK(std::fabs(mean) <= bound / std::sqrt(12));
  CHECK(correlation(base, base, 0) == doctest::Approx(1).epsilon(0.02));
  for (int lag : {1, 2, 3, 4, 7, 50, 64, 1000}) CHECK(std::fabs(correlation(base, base, lag)) <= bound);
  CHECK(std::fabs(correlation(base, numbers(RandomKey(1, Stream::prior, 5, 2), 1), 0)) <= bound);
  CHECK(std::fabs(correlation(base, numbers(RandomKey(1, Stream::prior, 6, 2), 0), 0)) <= bound);
  CHECK(std::fabs(correlation(base, numbers(RandomKey(1, Stream::prior, 5, 3), 0), 0)) <= bound);
  CHECK(std::fabs(correlation(base, numbers(RandomKey(1, Stream::dropout, 5, 2), 0), 0)) <= bound);
  CHECK(std::fabs(correlation(base, numbers(RandomKey(2, Stream::prior, 5, 2), 0), 0)) <= bound);
  CHECK(std::fabs(correlation(base, numbers(RandomKey(1ull << 32 | 1, Stream::prior, 5, 2), 0), 0)) <= bound);
}
