#include "ops/activation.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("activation: gradients, lifetimes, instruction sets") {
  for (Activation a : {Activation::gelu, Activation::silu})
    for (Shape x : {Shape{1, 1}, {7, 33}, {130, 130}, {0, 5}, {2, 3, 16}})
      test::op("activation", [a](Tape&, const std::vector<Var>& in) { return activation(in[0], a); }, {x});
}

namespace {

/// The largest relative error of one instruction set against libm in float64 over [low, high], values or derivatives.
double worst(Isa isa, Activation a, bool derivative, double low, double high) {
  constexpr int64_t n = 200'003;
  Array x({n}, DType::f32), y({n}, DType::f32), one({n}, DType::f32);
  for (int64_t i = 0; i < n; i++) x.as<float>()[i] = float(low + (high - low) * double(i) / double(n - 1)), one.as<float>()[i] = 1;
  on_cpu(isa, [&](auto b) {
    if (derivative) activation_backward(b, a, x, one, y);
    else activation_forward(b, a, x, y);
  });
  double error = 0;
  for (int64_t i = 0; i < n; i++) {
    const double v = double(x.as<float>()[i]), s = 1 / (1 + std::exp(-v)), cdf = 0.5 * std::erfc(-v / std::sqrt(2.0));
    const double density = std::exp(-v * v / 2) / std::sqrt(2 * 3.14159265358979323846);
    double want = a == Activation::silu ? v * s : v * cdf, scale = std::fabs(want);
    if (derivative) {
      want = a == Activation::silu ? s + v * s * (1 - s) : cdf + v * density;
      scale = a == Activation::silu ? s * (1 + std::fabs(v) * (1 - s)) : cdf + std::fabs(v) * density;  // of the terms: they cancel
    }
    const double e = std::fabs(double(y.as<float>()[i]) - want) / (scale + 1e-37);
    if (!(e <= error)) error = e;
  }
  return error;
}

}  // namespace

TEST_CASE("activation: float32 agrees with libm to the last bits, tails included") {
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    INFO(std::string(name_of(isa)));
    CHECK(worst(isa, Activation::silu, false, -87, 88) < 3e-7);  // exp over its whole range
    CHECK(worst(isa, Activation::silu, true, -80, 80) < 5e-7);
    CHECK(worst(isa, Activation::gelu, false, -12.5, 14) < 1e-6);
    CHECK(worst(isa, Activation::gelu, true, -12.5, 14) < 1e-6);
    CHECK(worst(isa, Activation::silu, false, -1e-3, 1e-3) < 3e-7);
    CHECK(worst(isa, Activation::gelu, false, -1e-3, 1e-3) < 1e-6);
  }
}

TEST_CASE("activation: huge arguments stay finite, infinity and NaN are seen") {
  const float inf = std::numeric_limits<float>::infinity();
  Array x({4}, DType::f32), y({4}, DType::f32), one({4}, DType::f32), slope({4}, DType::f32);
  const float values[] = {-3e38f, 3e38f, inf, std::nanf("")};
  for (int i = 0; i < 4; i++) x.as<float>()[i] = values[i], one.as<float>()[i] = 1;
  for (Activation a : {Activation::gelu, Activation::silu})
    for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
      if (!supports(isa)) continue;
      INFO(std::string(name_of(isa)));
      for (int i = 0; i < 4; i++) slope.as<float>()[i] = 0;
      on_cpu(isa, [&](auto b) { activation_forward(b, a, x, y); });
      on_cpu(isa, [&](auto b) { activation_backward(b, a, x, one, slope); });
      const float *v = y.as<float>(), *d = slope.as<float>();
      CHECK(std::fabs(v[0]) < 10);
      CHECK(v[1] == 3e38f);
      CHECK(v[2] == inf);
      CHECK(std::isnan(v[3]));
      CHECK(std::fabs(d[0]) < 10);
      CHECK(d[1] == doctest::Approx(1));
      CHECK(std::isnan(d[3]));
    }
}
