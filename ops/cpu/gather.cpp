#include "ops/gather.h"

#include "ops/cpu/simd.h"

namespace stflow {

template <> void gather_forward(ThisIsa, Tensor x, Tensor index, Tensor y) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = y.size() / y.shape[0];
    parallel_for(y.shape[0], row_grain(n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) std::memcpy(y.as<T>() + r * n, x.as<T>() + index.as<int32_t>()[r] * n, size_t(n) * sizeof(T));
    });
  });
}

template <> void gather_backward(ThisIsa, Tensor index, Tensor dy, Tensor dx) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = dy.size() / dy.shape[0];
    parallel_for(n, 2 * kLanes, [&](int64_t begin, int64_t end) {
      for (int64_t r = 0; r < dy.shape[0]; r++) {
        const T* from = dy.as<T>() + r * n + begin;
        T* to = dx.as<T>() + index.as<int32_t>()[r] * n + begin;
        lanes_of(end - begin, [&](int64_t i, int l) { store_n<T>(to + i, load_n(to + i, l) + load_n(from + i, l), l); });
      }
    });
  });
}

}  // namespace stflow
