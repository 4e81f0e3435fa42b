#include "ops/weighted_sum.h"

#include "ops/cpu/simd.h"

namespace stflow {

template <> void weighted_sum_forward(ThisIsa, Tensor x, Tensor weight, Tensor y) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    double s = 0;  // in double and in order: this is a yardstick, not a hot loop
    for (int64_t i = 0; i < x.size(); i++) s += double(x.as<T>()[i]) * double(weight.as<T>()[i]);
    *y.as<T>() = T(s);
  });
}

template <> void weighted_sum_backward(ThisIsa, Tensor weight, Tensor dy, Tensor dx) {
  by_type(weight.type, [&](auto zero) {
    using T = decltype(zero);
    const T d = *dy.as<T>();
    if (!dx.data) return;
    for (int64_t i = 0; i < weight.size(); i++) dx.as<T>()[i] += d * weight.as<T>()[i];
  });
}

}  // namespace stflow
