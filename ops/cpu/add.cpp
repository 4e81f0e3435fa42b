#include "ops/add.h"

#include "ops/cpu/reduce.h"

namespace stflow {

template <> void accumulate(ThisIsa, Tensor x, Tensor y) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.as<T>();
    T* to = y.as<T>();
    each_lanes(x.size(), [=](int64_t i, int l) { store_n<T>(to + i, load_n(to + i, l) + load_n(from + i, l), l); });
  });
}

template <> void add_forward(ThisIsa, Tensor x, Tensor y, Tensor z) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const T *a = x.as<T>(), *b = y.as<T>();
    T* to = z.as<T>();
    each_lanes(x.size(), [=](int64_t i, int l) { store_n<T>(to + i, load_n(a + i, l) + load_n(b + i, l), l); });
  });
}

template <> void add_row_forward(ThisIsa, Tensor x, Tensor v, Tensor z) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const T *a = x.as<T>(), *b = v.as<T>();
    T* to = z.as<T>();
    const int64_t n = x.cols();
    parallel_for(x.rows(), row_grain(n), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++)
        lanes_of(n, [&](int64_t i, int l) { store_n<T>(to + r * n + i, load_n(a + r * n + i, l) + load_n(b + i, l), l); });
    });
  });
}

template <> void add_row_backward(ThisIsa, Tensor dz, Tensor dv, void* scratch) {
  by_type(dz.type, [&](auto zero) {
    using T = decltype(zero);
    const T* d = dz.as<T>();
    T* to = dv.as<T>();
    const int64_t n = dz.cols();
    reduce_rows<T>(
        dz.rows(), n, static_cast<T*>(scratch),
        [=](int64_t r, T* sums) {
          lanes_of(n, [&](int64_t i, int l) { store_n<T>(sums + i, load_n(sums + i, l) + load_n(d + r * n + i, l), l); });
        },
        [=](int64_t i, T s) { to[i] += s; });
  });
}

}  // namespace stflow
