#include "ops/gemm_strassen.h"

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

std::vector<float> numbers(int64_t n, uint64_t seed) {
  const auto v = test::normal(size_t(n), seed);
  return {v.begin(), v.end()};
}

struct Size {
  int64_t groups, rows, n, k;
};
// Odd and even numbers of rows, one range of k and several, ranges of unequal and of odd length, panels that divide by no group.
constexpr Size kSizes[] = {{1, 197, 448, 384}, {3, 32, 384, 588}, {2, 33, 640, 1054}, {5, 99, 384, 2062}};

struct Case {
  Size size;
  std::vector<float> a, w, bias;

  explicit Case(Size s) : size(s), a(numbers(s.groups * s.rows * s.k, 1)), w(numbers(s.n * s.k, 2)), bias(numbers(s.n, 3)) {}

  /// The product on one instruction set, with weights held as W.
  template <class W> std::vector<float> run(Isa isa, bool with_bias, Activation activation, int64_t first = 0, int64_t groups = -1) const {
    const auto [all, rows, n, k] = size;
    if (groups < 0) groups = all;
    Storage packed(size_t(packed_elements(n, k)) * sizeof(W));
    std::vector<float> c(size_t(groups * rows * n), NAN);
    on_cpu(isa, [&](auto b) {
      auto* panels = static_cast<W*>(packed.data());
      if constexpr (std::is_same_v<W, float>) {
        pack_weights(b, w.data(), k, false, n, k, panels);
      } else {
        std::vector<W> bits(w.size());
        for (size_t i = 0; i < w.size(); i++) bits[i] = W{std::is_same_v<W, Half> ? float_to_half(w[i]) : float_to_bfloat(w[i])};
        pack_halves(b, bits.data(), n, k, panels);
      }
      gemm_strassen(b, a.data() + first * rows * k, groups, rows, static_cast<const W*>(panels), n, k, c.data(),
                    with_bias ? bias.data() : nullptr, activation);
    });
    return c;
  }
  [[nodiscard]] double exact(int64_t row, int64_t column) const {
    double sum = 0;
    for (int64_t p = 0; p < size.k; p++) sum += double(a[size_t(row * size.k + p)]) * double(w[size_t(column * size.k + p)]);
    return sum;
  }
};

bool same(const std::vector<float>& x, const std::vector<float>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("gemm_strassen: the product, with bias and activation or without, on every instruction set") {
  for (const Size& size : kSizes) {
    const Case test(size);
    REQUIRE(strassen_pays(size.rows, size.n, size.k));
    const int64_t rows = size.groups * size.rows;
    for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
      if (!supports(isa)) continue;
      INFO(std::string(name_of(isa)), ": ", size.groups, " x ", size.rows, " x ", size.n, " x ", size.k);
      const auto bare = test.run<float>(isa, false, Activation::none), relu = test.run<float>(isa, true, Activation::relu);
      double worst = 0, worst_relu = 0;
      for (int64_t i = 0; i < rows; i++)
        for (int64_t j = i % 5; j < size.n; j += 5) {  // every column within five rows
          const double want = test.exact(i, j), biased = want + double(test.bias[size_t(j)]);
          worst = std::max(worst, std::fabs(double(bare[size_t(i * size.n + j)]) - want));
          worst_relu = std::max(worst_relu, std::fabs(double(relu[size_t(i * size.n + j)]) - std::max(biased, 0.0)));
        }
      const double unit = std::sqrt(double(size.k));  // the size of a product of normal numbers
      CHECK(worst < 1e-5 * unit);
      CHECK(worst_relu < 1e-5 * unit);
    }
  }
}

TEST_CASE("gemm_strassen: 16-bit weights give the bytes of their float32 values") {
  for (const Size& size : {kSizes[1], kSizes[2]}) {
    Case test(size);
    for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
      if (!supports(isa)) continue;
      INFO(std::string(name_of(isa)), ": ", size.n, " x ", size.k);
      for (float& x : test.w) x = half_to_float(float_to_half(x));
      CHECK(same(test.run<Half>(isa, true, Activation::gelu), test.run<float>(isa, true, Activation::gelu)));
      for (float& x : test.w) x = bfloat_to_float(float_to_bfloat(x));
      CHECK(same(test.run<Bfloat>(isa, true, Activation::gelu), test.run<float>(isa, true, Activation::gelu)));
    }
  }
}

TEST_CASE("gemm_strassen: the bytes of a group depend on no other group, nor on the threads") {
  const Case test(Size{20, 33, 448, 398});  // more strips than are kept at hand
  const auto [groups, rows, n, k] = test.size;
  const auto all = test.run<float>(best_isa(), true, Activation::gelu);
  for (int64_t g : {int64_t{0}, int64_t{7}, groups - 1}) {
    const auto one = test.run<float>(best_isa(), true, Activation::gelu, g, 1);
    CHECK(std::memcmp(one.data(), all.data() + g * rows * n, one.size() * sizeof(float)) == 0);
  }
  for (int threads : {1, 2, 3, 7, 16}) {
    set_thread_count(threads);
    CHECK(same(test.run<float>(best_isa(), true, Activation::gelu), all));
  }
  set_thread_count(0);
}

TEST_CASE("gemm_strassen: a row a thousand times larger than its partner costs no more than its own rounding") {
  Case test(Size{1, 64, 384, 512});
  const int64_t large = 5, partner = large + 32;  // in the same place of the lower half
  for (int64_t p = 0; p < test.size.k; p++) test.a[size_t(large * test.size.k + p)] *= 1000;
  const auto c = test.run<float>(best_isa(), false, Activation::none);
  for (int64_t row : {large, partner, int64_t{9}}) {
    double worst = 0;
    for (int64_t j = 0; j < test.size.n; j++)
      worst = std::max(worst, std::fabs(double(c[size_t(row * test.size.n + j)]) - test.exact(row, j)));
    const double unit = std::sqrt(double(test.size.k)) * (row == 9 ? 1 : 1000);
    INFO(row, ": ", worst / unit);
    CHECK(worst < 1e-5 * unit);
  }
}
