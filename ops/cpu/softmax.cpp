#include "ops/softmax.h"

#include <limits>

#include "ops/cpu/math.h"

namespace stflow {
template <> void softmax_forward(ThisIsa, Tensor x, Tensor y) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.as<T>();
    T* to = y.as<T>();
    const int64_t n = x.cols();
    constexpr T low = -std::numeric_limits<T>::infinity();
    parallel_for(x.rows(), row_grain(n), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T* row = from + r * n;
        T* out = to + r * n;
        Vec<T> m = splat(low);
        lanes_of(n, [&](int64_t i, int l) { m = max<T>(m, load_n(row + i, l, low)); });
        const T top = largest<T>(m);
        Vec<T> s{};
        lanes_of(n, [&](int64_t i, int l) {
          const Vec<T> e = exp<T>(load_n(row + i, l, low) - top);
          store_n<T>(out + i, e, l);
          s += e;
        });
        const T scale = T(1) / sum<T>(s);
        lanes_of(n, [&](int64_t i, int l) { store_n<T>(out + i, load_n(out + i, l) * scale, l); });
      }
    });
  });
}

// dx = y (dy - sum(y dy))
template <> void softmax_backward(ThisIsa, Tensor y, Tensor dy, Tensor dx) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    const T *value = y.as<T>(), *grad = dy.as<T>();
    T* to = dx.as<T>();
    const int64_t n = y.cols();
    parallel_for(y.rows(), row_grain(n), [=](int64_t begin, int64_t end) {
      for (int64_t at = begin * n; at < end * n; at += n) {
        Vec<T> s{};
        lanes_of(n, [&](int64_t i, int l) { s = fma<T>(load_n(value + at + i, l), load_n(grad + at + i, l), s); });
        const T mean = sum<T>(s);
        lanes_of(n, [&](int64_t i, int l) {
          store_n<T>(to + at + i, fma<T>(load_n(value + at + i, l), load_n(grad + at + i, l) - mean, load_n(to + at + i, l)), l);
        });
      }
    });
  });
}

}  // namespace stflow
