#include "ops/cuda/gemm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/cuda/memory.h"
#include "engine/half.h"
#include "engine/storage.h"
#include "tests/check.h"
#include "tests/orders.h"

using namespace stflow;

namespace {

// Numbers of a type on the device, and what they are.
struct Numbers {
  std::vector<double> value;
  Array there;
  Numbers(int64_t n, DType type, uint64_t seed) : value(test::normal(size_t(n), seed)) {
    Array here({n}, type);
    for (size_t i = 0; i < value.size(); i++) {
      if (type == DType::bf16) here.as<uint16_t>()[i] = float_to_bfloat(float(value[i]));
      else here.as<float>()[i] = float(value[i]);
      value[i] = type == DType::bf16 ? double(bfloat_to_float(here.as<uint16_t>()[i])) : double(here.as<float>()[i]);
    }
    there = copy_of(here, Device::cpu, Device::cuda);
  }
};

std::vector<double> read(const Array& there) {
  const Array here = copy_of(there, Device::cuda, Device::cpu);
  std::vector<double> x;
  for (int64_t i = 0; i < here.tensor().size(); i++)
    x.push_back(here.tensor().type == DType::bf16 ? double(bfloat_to_float(here.as<uint16_t>()[i])) : double(here.as<float>()[i]));
  return x;
}

// The largest error of a product (m, n, k), both operands as they lie or transposed, over the largest element.
double error_of(Cuda on, DType factors, DType result, bool a_transposed, bool b_transposed, bool add, bool bias, int64_t m, int64_t n,
                int64_t k) {
  const Numbers a(m * k, factors, 1), b(k * n, factors, 2), row(n, result, 3), c(m * n, result, 4);
  matmul(on, m, n, k, {a.there.tensor().data, a_transposed ? m : k, a_transposed, factors},
         {b.there.tensor().data, b_transposed ? k : n, b_transposed, factors},
         {c.there.tensor().data, n, add, bias ? row.there.tensor().data : nullptr, result});
  const std::vector<double> got = read(c.there);
  double worst = 0, largest = 0;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double want = (add ? c.value[size_t(i * n + j)] : 0) + (bias ? row.value[size_t(j)] : 0);
      for (int64_t d = 0; d < k; d++)
        want += a.value[size_t(a_transposed ? d * m + i : i * k + d)] * b.value[size_t(b_transposed ? j * k + d : d * n + j)];
      worst = std::max(worst, std::fabs(got[size_t(i * n + j)] - want)), largest = std::max(largest, std::fabs(want));
    }
  return worst / largest;
}

}  // namespace

TEST_CASE("cuda gemm: sums of the left matrix's rows as a by-product, where the library has them") {
  for (auto [m, n, k] : {std::array<int64_t, 3>{33, 20, 50}, {1, 1, 1}, {16, 40, 7}, {70, 3, 801}})
    for (const bool transposed : {false, true})
      test::in_every_order([&, m = m, n = n, k = k] {
        const Numbers a(m * k, DType::f32, 1), b(k * n, DType::f32, 2), before(m, DType::f32, 3);
        const Array c({m, n}, DType::f32, Device::cuda);
        const bool written = matmul({}, m, n, k, {a.there.tensor().data, transposed ? m : k, transposed}, {b.there.tensor().data, n},
                                    {.data = c.tensor().data, .ld = n, .row_sums = before.there.as<float>()});
        CHECK((written || !cuda_is_emulated()));
        const std::vector<double> got = read(before.there);
        for (int64_t i = 0; i < m; i++) {
          double want = 0, size = 0;
          for (int64_t d = 0; d < k; d++) {
            const double x = a.value[size_t(transposed ? d * m + i : i * k + d)];
            want += x, size += std::fabs(x);
          }
          CHECK(std::fabs(got[size_t(i)] - (written ? want : before.value[size_t(i)])) <= 1e-6 * size);
        }
      });
  const Array c({2, 2}, DType::f32, Device::cuda);
  Product both{.data = c.tensor().data, .ld = 2, .bias = c.tensor().data, .row_sums = c.as<float>()};
  CHECK_THROWS_AS(matmul({}, 2, 2, 2, {c.tensor().data, 2}, {c.tensor().data, 2}, both), Error);
}

TEST_CASE("cuda gemm: float32, TF32 and bf16 products, as they lie and transposed, added and with a bias, in every order of threads") {
  for (auto [m, n, k] : {std::array<int64_t, 3>{33, 20, 50}, {1, 1, 1}, {16, 40, 7}})
    for (int bits = 0; bits < 16; bits++) {
      const bool at = bits & 1, bt = bits & 2, add = bits & 4, bias = bits & 8;
      CAPTURE(m);
      CAPTURE(bits);
      test::in_every_order([&, m = m, n = n, k = k] {
        CHECK(error_of({}, DType::f32, DType::f32, at, bt, add, bias, m, n, k) < 1e-6);
        CHECK(error_of({nullptr, true}, DType::f32, DType::f32, at, bt, add, bias, m, n, k) < 2e-3);
        CHECK(error_of({}, DType::bf16, DType::f32, at, bt, add, bias, m, n, k) < 1e-6);
        CHECK(error_of({}, DType::bf16, DType::bf16, at, bt, add, bias, m, n, k) < 4e-3);  // one rounding of the result, 2^-9 of it
      });
    }
  if (cuda_is_emulated())  // cuBLASLt may round factors, and need not
    CHECK(error_of({nullptr, true}, DType::f32, DType::f32, false, true, false, false, 33, 20, 50) > 1e-5);
}

TEST_CASE("cuda gemm: a product of no terms is zero, and adds nothing") {
  for (const bool add : {false, true}) {
    const Numbers c(6, DType::f32, 1);
    matmul({}, 2, 3, 0, {nullptr, 1}, {nullptr, 3}, {c.there.tensor().data, 3, add});
    const std::vector<double> got = read(c.there);
    for (size_t i = 0; i < 6; i++) CHECK(got[i] == (add ? c.value[i] : 0));
  }
}
