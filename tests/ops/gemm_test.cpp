#include "ops/gemm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/half.h"
#include "engine/storage.h"
#include "engine/threads.h"
#include "tests/check.h"

using namespace stflow;

namespace {

template <class T> std::vector<T> numbers(int64_t n, uint64_t seed) {
  const auto v = test::normal(size_t(n), seed);
  return {v.begin(), v.end()};
}

/// The largest difference from the product in float64, relative to the sum of the terms' sizes, must stay below `limit`.
template <class T> void check_product(Isa isa, int64_t m, int64_t n, int64_t k, bool transposed, bool accumulate, double limit) {
  INFO(std::string(name_of(isa)), ": ", m, " x ", n, " x ", k, transposed ? " transposed" : "", accumulate ? " added" : "");
  const int64_t lda = k + 3, ldc = n + 5, ldw = transposed ? n + 1 : k + 2;
  const auto a = numbers<T>(m * lda, 1), w = numbers<T>((transposed ? k : n) * ldw, 2), before = numbers<T>(m * ldc, 3),
             bias = numbers<T>(n, 4);
  Storage packed(size_t(packed_elements(n, k)) * sizeof(T));
  auto one = before, many = before;
  on_cpu(isa, [&](auto b) {
    pack_weights(b, w.data(), ldw, transposed, n, k, static_cast<T*>(packed.data()));
    gemm_rows(b, a.data(), lda, m, static_cast<const T*>(packed.data()), n, k, one.data(), ldc, accumulate);
    gemm(b, a.data(), lda, m, static_cast<const T*>(packed.data()), n, k, many.data(), ldc,
         Epilogue<T>{bias.data(), nullptr, Activation::none, accumulate});
  });
  double worst = 0;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < ldc; j++) {
      if (j >= n) {  // what lies between the rows is not touched
        REQUIRE(one[size_t(i * ldc + j)] == before[size_t(i * ldc + j)]);
        REQUIRE(many[size_t(i * ldc + j)] == before[size_t(i * ldc + j)]);
        continue;
      }
      double sum = accumulate ? double(before[size_t(i * ldc + j)]) : 0, size = std::fabs(sum) + 1;
      for (int64_t p = 0; p < k; p++) {
        const double term = double(a[size_t(i * lda + p)]) * double(w[size_t(transposed ? p * ldw + j : j * ldw + p)]);
        sum += term, size += std::fabs(term);
      }
      worst = std::max(worst, std::fabs(double(one[size_t(i * ldc + j)]) - sum) / size);
      worst = std::max(worst, std::fabs(double(many[size_t(i * ldc + j)]) - sum - double(bias[size_t(j)])) / size);
    }
  CHECK(worst < limit);
}

float value_of(Half h) { return half_to_float(h.bits); }
float value_of(Bfloat b) { return bfloat_to_float(b.bits); }

/// gemm_halves() on weights of 16 bits must give the bytes of gemm() on their float32 values.
template <class W> void check_halves(Isa isa, int64_t m, int64_t n, int64_t k) {
  INFO(std::string(name_of(isa)), ": ", m, " x ", n, " x ", k, std::is_same_v<W, Half> ? " f16" : " bf16");
  const auto a = numbers<float>(m * k, 1), w = numbers<float>(n * k, 2), bias = numbers<float>(n, 4);
  std::vector<W> halves(w.size());
  std::vector<float> wide(w.size()), want(size_t(m * n), 1.0f), got(want.size(), 2.0f);
  for (size_t i = 0; i < w.size(); i++) {
    halves[i] = W{std::is_same_v<W, Half> ? float_to_half(w[i]) : float_to_bfloat(w[i])};
    wide[i] = value_of(halves[i]);
  }
  const size_t size = size_t(packed_elements(n, k));
  Storage packed(size * sizeof(float)), packed_halves(size * sizeof(W));
  auto* p = static_cast<float*>(packed.data());
  auto* h = static_cast<W*>(packed_halves.data());
  const Epilogue<float> epilogue{bias.data(), nullptr, Activation::gelu, false};
  on_cpu(isa, [&](auto b) {
    pack_weights(b, wide.data(), k, false, n, k, p);
    gemm(b, a.data(), k, m, p, n, k, want.data(), n, epilogue);
    pack_halves(b, halves.data(), n, k, h);
    gemm_halves(b, a.data(), k, m, h, n, k, got.data(), n, epilogue);
  });
  CHECK(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0);
}

/// All 65,536 bit patterns come out as the numbers they stand for.
template <class W> void check_patterns(Isa isa) {
  constexpr int64_t n = 65536;
  std::vector<W> all(n);
  for (int64_t i = 0; i < n; i++) all[size_t(i)] = W{uint16_t(i)};
  Storage packed(size_t(packed_elements(n, 1)) * sizeof(W));
  std::vector<float> got(n);
  const float one = 1;
  on_cpu(isa, [&](auto b) {
    pack_halves(b, all.data(), n, 1, static_cast<W*>(packed.data()));
    gemm_halves(b, &one, 1, 1, static_cast<const W*>(packed.data()), n, 1, got.data(), n, Epilogue<float>{});
  });
  int64_t wrong = 0;
  for (int64_t i = 0; i < n; i++) {
    const float want = value_of(all[size_t(i)]);
    wrong += std::isnan(want) ? !std::isnan(got[size_t(i)]) : got[size_t(i)] != want;
  }
  INFO(std::string(name_of(isa)));
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("gemm: a right operand in 16 bits gives the bytes of its float32 values, on every instruction set") {
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    check_patterns<Half>(isa);
    check_patterns<Bfloat>(isa);
    for (auto [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {15, 33, 3}, {29, 70, 40}, {7, 300, 0}, {500, 300, 800}}) {
      check_halves<Half>(isa, m, n, k);
      check_halves<Bfloat>(isa, m, n, k);
    }
  }
}

TEST_CASE("gemm: strided products of every ragged size on every instruction set") {
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    for (int64_t m : {1, 5, 14, 15, 29})
      for (int64_t n : {1, 8, 17, 31, 32, 33, 70})
        for (int64_t k : {0, 1, 3, 40})
          for (bool transposed : {false, true}) {
            check_product<float>(isa, m, n, k, transposed, (m + n) % 2 == 0, 4e-7);
            check_product<double>(isa, m, n, k, transposed, (m + n) % 2 == 1, 1e-15);
          }
    check_product<float>(isa, 500, 300, 800, false, true, 1e-6);  // several blocks in each direction
    check_product<double>(isa, 100, 300, 800, true, true, 1e-15);
  }
}

TEST_CASE("gemm: the gradient of a weight over many rows, same bytes at any number of threads") {
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    for (auto [rows, m, n] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {0, 3, 5}, {130, 17, 33}, {1500, 20, 300}, {3000, 3, 40}}) {
      INFO(std::string(name_of(isa)), ": ", rows, " x ", m, " x ", n);
      const auto a = numbers<float>(rows * m, 1), x = numbers<float>(rows * n, 2);
      std::vector<float> scratch(size_t(gemm_transposed_scratch(rows, m, n))), first;
      for (int threads : {1, 2, 3}) {
        set_thread_count(threads);
        auto c = numbers<float>(m * n + m, 3);
        const auto before = c;
        on_cpu(isa,
               [&](auto b) { gemm_transposed(b, a.data(), m, x.data(), n, rows, m, n, c.data(), n, c.data() + m * n, scratch.data()); });
        if (threads > 1) {
          CHECK(std::memcmp(c.data(), first.data(), c.size() * sizeof(float)) == 0);
          continue;
        }
        first = c;
        double worst = 0;
        for (int64_t i = 0; i < m; i++)
          for (int64_t j = 0; j <= n; j++) {  // the last column is the sum of A's column
            const size_t at = size_t(j < n ? i * n + j : m * n + i);
            double sum = double(before[at]), size = std::fabs(sum) + 1;
            for (int64_t r = 0; r < rows; r++) {
              const double term = double(a[size_t(r * m + i)]) * (j < n ? double(x[size_t(r * n + j)]) : 1);
              sum += term, size += std::fabs(term);
            }
            worst = std::max(worst, std::fabs(double(c[at]) - sum) / size);
          }
        CHECK(worst < 1e-6);
      }
      set_thread_count(0);
    }
  }
}
