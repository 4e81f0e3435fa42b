#include "ops/scale_add.h"

#include "ops/cpu/simd.h"

namespace stflow {

template <> void scale_add_forward(ThisIsa, Tensor x, Tensor y, Tensor scale, Tensor out) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = x.cols();
    const T* s = scale.as<T>();
    parallel_for(x.rows(), row_grain(n), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T *a = x.as<T>() + r * n, *b = y.as<T>() + r * n;
        T* o = out.as<T>() + r * n;
        lanes_of(n, [&](int64_t i, int l) { store_n<T>(o + i, fma<T>(load_n(b + i, l), load_n(s + i, l), load_n(a + i, l)), l); });
      }
    });
  });
}

template <> void scale_add_backward(ThisIsa, Tensor y, Tensor scale, Tensor dout, Tensor dx, Tensor dy, Tensor dscale) {
  by_type(dout.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = dout.cols(), rows = dout.rows();
    const T *s = scale.as<T>(), *g = dout.as<T>();
    parallel_for(rows, row_grain(n), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++)
        lanes_of(n, [&](int64_t i, int l) {
          const int64_t at = r * n + i;
          const Vec<T> d = load_n(g + at, l);
          if (dx.data) store_n<T>(dx.as<T>() + at, load_n(dx.as<T>() + at, l) + d, l);
          if (dy.data) store_n<T>(dy.as<T>() + at, fma<T>(d, load_n(s + i, l), load_n(dy.as<T>() + at, l)), l);
        });
    });
    if (!dscale.data) return;
    constexpr int64_t kColumns = 4 * kLanes;  // a thread owns some columns: every sum has one owner and one order
    parallel_for(n, kColumns, [=](int64_t begin, int64_t end) {
      for (int64_t r = 0; r < rows; r++)
        lanes_of(end - begin, [&](int64_t i, int l) {
          T* to = dscale.as<T>() + begin + i;
          store_n<T>(to, fma<T>(load_n(g + r * n + begin + i, l), load_n(y.as<T>() + r * n + begin + i, l), load_n(to, l)), l);
        });
    });
  });
}

}  // namespace stflow
