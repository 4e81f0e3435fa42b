#include "ops/flow.h"

#include <cmath>

#include "ops/cpu/simd.h"

namespace stflow {

template <> void interpolate(ThisIsa, Tensor t, Tensor y1, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    const T at = *t.as<T>(), rest = 1 - at, *end = y1.as<T>();
    T* to = y.as<T>();
    each_lanes(y.size(), [=](int64_t i, int l) { store_n<T>(to + i, load_n(to + i, l) * rest + load_n(end + i, l) * at, l); });
  });
}

template <> void euler_step(ThisIsa, double t, double dt, Tensor x1, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    const T share = T(dt / (1 - t)), *end = x1.as<T>();
    T* to = y.as<T>();
    each_lanes(y.size(), [=](int64_t i, int l) {
      const Vec<T> at = load_n(to + i, l);
      store_n<T>(to + i, at + (load_n(end + i, l) - at) * share, l);
    });
  });
}

template <> void heun_predict(ThisIsa, double t, double dt, Tensor x1, Tensor y, Tensor velocity) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    const T rest = T(1 - t), step = T(dt), *end = x1.as<T>();
    T *to = y.as<T>(), *v = velocity.as<T>();
    parallel_for(y.size(), 1 << 14, [=](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) v[i] = (end[i] - to[i]) / rest, to[i] += step * v[i];
    });
  });
}

template <> void heun_correct(ThisIsa, double t, double dt, Tensor x1, Tensor velocity, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    const T rest = T(1 - (t + dt)), half = T(dt) * T(0.5);
    const T *end = x1.as<T>(), *v = velocity.as<T>();
    T* to = y.as<T>();
    parallel_for(y.size(), 1 << 14, [=](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) to[i] += half * ((end[i] - to[i]) / rest - v[i]);
    });
  });
}

template <> void hold_known(ThisIsa, double t, Tensor known, Tensor start, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    const T at = T(t), rest = T(1 - t), *end = known.as<T>(), *from = start.as<T>();
    T* to = y.as<T>();
    parallel_for(y.size(), 1 << 14, [=](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++)
        if (!std::isnan(end[i])) to[i] = from[i] * rest + end[i] * at;
    });
  });
}

}  // namespace stflow
