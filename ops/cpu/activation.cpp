#include "ops/activation.h"

#include "ops/cpu/activate.h"

namespace stflow {

template <> void activation_forward(ThisIsa, Activation kind, Tensor x, Tensor y) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.as<T>();
    T* to = y.as<T>();
    parallel_for(x.size(), 32768, [=](int64_t begin, int64_t end) {
      lanes_of(end - begin, [&](int64_t i, int l) {
        const Vec<T> v = load_n(from + begin + i, l);
        store_n<T>(to + begin + i, activate<T>(kind, v), l);
      });
    });
  });
}

template <> void activation_backward(ThisIsa, Activation kind, Tensor x, Tensor dy, Tensor dx) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const T *from = x.as<T>(), *d = dy.as<T>();
    T* to = dx.as<T>();
    parallel_for(x.size(), 32768, [=](int64_t begin, int64_t end) {
      lanes_of(end - begin, [&](int64_t i, int l) {
        const Vec<T> v = load_n(from + begin + i, l), slope = activation_slope<T>(kind, v);
        store_n<T>(to + begin + i, fma<T>(slope, load_n(d + begin + i, l), load_n(to + begin + i, l)), l);
      });
    });
  });
}

}  // namespace stflow
