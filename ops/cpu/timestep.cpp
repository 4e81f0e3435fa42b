#include "ops/timestep.h"

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

double frequency(int64_t j, int64_t half) { return ::exp(-9.2103403719761836 * double(j) / double(half)); }  // ln(10000)

}  // namespace

template <> void timestep_forward(ThisIsa, Tensor t, Tensor y) {
  by_type(t.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t half = y.size() / 2;
    for (int64_t j = 0; j < half; j++) {
      const double angle = double(*t.as<T>()) * frequency(j, half);
      y.as<T>()[j] = T(::cos(angle));
      y.as<T>()[half + j] = T(::sin(angle));
    }
  });
}

template <> void timestep_backward(ThisIsa, Tensor t, Tensor dy, Tensor dt) {
  by_type(t.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t half = dy.size() / 2;
    double s = 0;
    for (int64_t j = 0; j < half; j++) {
      const double f = frequency(j, half), angle = double(*t.as<T>()) * f;
      s += f * (double(dy.as<T>()[half + j]) * ::cos(angle) - double(dy.as<T>()[j]) * ::sin(angle));
    }
    *dt.as<T>() += T(s);
  });
}

}  // namespace stflow
