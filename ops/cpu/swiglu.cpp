#include "ops/swiglu.h"

#include "ops/cpu/math.h"

namespace stflow {

template <> void swiglu_forward(ThisIsa, Tensor u, Tensor y) {
  by_type(u.type, [&](auto zero) {
    using T = decltype(zero);
    const T* from = u.as<T>();
    T* to = y.as<T>();
    const int64_t m = y.cols();
    parallel_for(y.rows(), row_grain(2 * m), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T* row = from + r * 2 * m;
        lanes_of(m, [&](int64_t i, int l) { store_n<T>(to + r * m + i, silu<T>(load_n(row + i, l)) * load_n(row + m + i, l), l); });
      }
    });
  });
}

template <> void swiglu_backward(ThisIsa, Tensor u, Tensor dy, Tensor du) {
  by_type(u.type, [&](auto zero) {
    using T = decltype(zero);
    const T *from = u.as<T>(), *grad = dy.as<T>();
    T* to = du.as<T>();
    const int64_t m = dy.cols();
    parallel_for(dy.rows(), row_grain(2 * m), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T* row = from + r * 2 * m;
        T* d = to + r * 2 * m;
        lanes_of(m, [&](int64_t i, int l) {
          const Vec<T> g = load_n(grad + r * m + i, l);
          Vec<T> slope;
          const Vec<T> value = silu<T>(load_n(row + i, l), slope);
          store_n<T>(d + i, fma<T>(g * load_n(row + m + i, l), slope, load_n(d + i, l)), l);
          store_n<T>(d + m + i, fma<T>(g, value, load_n(d + m + i, l)), l);
        });
      }
    });
  });
}

}  // namespace stflow
