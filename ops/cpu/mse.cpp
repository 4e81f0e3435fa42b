#include "ops/mse.h"

#include <algorithm>

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

// Elements that count.
template <class T> int64_t counted(const Tensor& x, const Tensor& rows) {
  return rows.data ? std::min(x.size(), int64_t(*rows.as<T>()) * x.cols()) : x.size();
}

}  // namespace

template <> void mse_forward(ThisIsa, Tensor x, Tensor target, Tensor rows, Reduction reduction, Tensor y, double* scratch) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const T *a = x.as<T>(), *b = target.as<T>();
    const int64_t n = counted<T>(x, rows);
    parallel_for(n, kMseGrain, [=](int64_t begin, int64_t end) {
      Vec<double> s{};
      lanes_of(end - begin, [&](int64_t i, int l) {
        const Vec<T> d = load_n(a + begin + i, l) - load_n(b + begin + i, l);
        const Vec<double> wide = widen(d);
        s = fma<double>(wide, wide, s);
      });
      scratch[begin / kMseGrain] = sum<double>(s);
    });
    double total = 0;
    for (int64_t i = 0; i * kMseGrain < n; i++) total += scratch[i];
    *y.as<T>() = T(reduction == Reduction::mean ? total / double(n) : total);
  });
}

template <> void mse_backward(ThisIsa, Tensor x, Tensor target, Tensor rows, Reduction reduction, Tensor dy, Tensor dx, Tensor dtarget) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const T *a = x.as<T>(), *b = target.as<T>();
    T *da = dx.as<T>(), *db = dtarget.as<T>();
    const T scale = T(2) * *dy.as<T>() / (reduction == Reduction::mean ? T(x.size()) : T(1));
    each_lanes(counted<T>(x, rows), [=](int64_t i, int l) {
      const Vec<T> d = (load_n(a + i, l) - load_n(b + i, l)) * scale;
      if (da) store_n<T>(da + i, load_n(da + i, l) + d, l);
      if (db) store_n<T>(db + i, load_n(db + i, l) - d, l);
    });
  });
}

}  // namespace stflow
