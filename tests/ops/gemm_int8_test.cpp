#include "ops/gemm_int8.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/storage.h"
#include "engine/threads.h"
#include "tests/check.h"

using namespace stflow;

namespace {

std::vector<float> numbers(int64_t n, uint64_t seed) {
  const auto v = test::normal(size_t(n), seed);
  return {v.begin(), v.end()};
}

std::vector<float> product(Isa isa, const std::vector<float>& a, const std::vector<float>& w, const float* bias, int64_t m, int64_t n,
                           int64_t k) {
  Storage packed(int8_packed_bytes(n, k)), scratch(int8_scratch_bytes(m, k));
  std::vector<float> c(size_t(m * n));
  on_cpu(isa, [&](auto b) {
    pack_int8(b, w.data(), n, k, packed.data());
    gemm_int8(b, a.data(), k, m, packed.data(), n, k, c.data(), n, Epilogue<float>{bias, nullptr, Activation::none, false}, scratch.data());
  });
  return c;
}

/// The row's largest size over 127, and its whole multiples.
std::vector<int> integers(const float* x, int64_t k, float& scale) {
  float most = 0;
  for (int64_t i = 0; i < k; i++) most = std::max(most, std::fabs(x[i]));
  scale = most / 127.0f;
  std::vector<int> q(static_cast<size_t>(k));
  for (int64_t i = 0; i < k; i++) q[size_t(i)] = int(std::nearbyint(x[i] * (1.0f / scale)));
  return q;
}

}  // namespace

TEST_CASE("gemm int8: exactly the integers' product, the same bytes on every instruction set and number of threads") {
  for (auto [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {3, 5, 7}, {15, 33, 64}, {29, 70, 131}, {200, 100, 770}}) {
    INFO(m, " x ", n, " x ", k);
    const auto a = numbers(m * k, 1), w = numbers(n * k, 2), bias = numbers(n, 3);
    std::vector<float> want(size_t(m * n));
    for (int64_t j = 0; j < n; j++) {
      float of_column = 0, of_row = 0;
      const auto column = integers(w.data() + j * k, k, of_column);
      for (int64_t i = 0; i < m; i++) {
        const auto row = integers(a.data() + i * k, k, of_row);
        int64_t sum = 0;
        for (size_t p = 0; p < row.size(); p++) sum += int64_t(row[p]) * column[p];
        want[size_t(i * n + j)] = float(sum) * (of_column * of_row) + bias[size_t(j)];
      }
    }
    for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
      if (!supports(isa)) continue;
      INFO(std::string(name_of(isa)));
      for (int threads : {1, 3}) {
        set_thread_count(threads);
        CHECK(product(isa, a, w, bias.data(), m, n, k) == want);
      }
      set_thread_count(0);
    }
  }
}

TEST_CASE("gemm int8: extremes stay exact, zeros are zeros, and what is not finite shows") {
  const int64_t k = 4096;
  std::vector<float> a(size_t(k), 1.0f), w(size_t(2 * k), -1.0f);
  std::fill(w.begin() + k, w.end(), 0.0f);
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    INFO(std::string(name_of(isa)));
    auto c = product(isa, a, w, nullptr, 1, 2, k);
    CHECK(c[0] == doctest::Approx(-4096).epsilon(1e-6));
    CHECK(c[1] == 0);
    for (const float bad : {std::nanf(""), INFINITY}) {
      auto broken = a;
      broken[70] = bad;
      CHECK(std::isnan(product(isa, broken, w, nullptr, 1, 2, k)[0]));
      auto weights = w;
      weights[size_t(k) + 3] = bad;
      c = product(isa, a, weights, nullptr, 1, 2, k);
      CHECK(c[0] == doctest::Approx(-4096).epsilon(1e-6));
      CHECK(std::isnan(c[1]));
    }
  }
}
