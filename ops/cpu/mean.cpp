#include "ops/mean.h"

#include "ops/cpu/simd.h"

namespace stflow {

template <> void mean_forward(ThisIsa, const Tensor* x, int count, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    T* to = y.as<T>();
    each_lanes(y.size(), [=](int64_t i, int l) {
      Vec<T> s = load_n(x[0].as<T>() + i, l);
      for (int k = 1; k < count; k++) s += load_n(x[k].as<T>() + i, l);
      store_n<T>(to + i, s / T(count), l);
    });
  });
}

template <> void mean_backward(ThisIsa, Tensor dy, int count, Tensor dx) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    const T* d = dy.as<T>();
    T* to = dx.as<T>();
    each_lanes(dy.size(), [=](int64_t i, int l) { store_n<T>(to + i, load_n(to + i, l) + load_n(d + i, l) / T(count), l); });
  });
}

}  // namespace stflow
