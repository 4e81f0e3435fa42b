#include "ops/pool_tokens.h"

#include "ops/cpu/simd.h"

namespace stflow {

template <> void pool_tokens_forward(ThisIsa, Tensor x, int64_t prefix, Pooling pooling, Tensor y) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tokens = x.shape[1], d = x.shape[2], width = y.cols();
    parallel_for(x.shape[0], row_grain(tokens * d), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) {
        const T* from = x.as<T>() + b * tokens * d;
        T* to = y.as<T>() + b * width;
        if (pooling != Pooling::mean) std::memcpy(to, from, size_t(d) * sizeof(T));
        if (pooling == Pooling::cls) continue;
        lanes_of(d, [&](int64_t i, int l) {
          Vec<T> s{};
          for (int64_t t = prefix; t < tokens; t++) s += load_n(from + t * d + i, l);
          store_n<T>(to + width - d + i, s * (T(1) / T(tokens - prefix)), l);
        });
      }
    });
  });
}

template <> void pool_tokens_backward(ThisIsa, Tensor dy, int64_t prefix, Pooling pooling, Tensor dx) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tokens = dx.shape[1], d = dx.shape[2], width = dy.cols();
    parallel_for(dx.shape[0], row_grain(tokens * d), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) {
        const T* from = dy.as<T>() + b * width;
        T* to = dx.as<T>() + b * tokens * d;
        lanes_of(d, [&](int64_t i, int l) {
          if (pooling != Pooling::mean) store_n<T>(to + i, load_n(to + i, l) + load_n(from + i, l), l);
          if (pooling == Pooling::cls) return;
          const Vec<T> g = load_n(from + width - d + i, l) * (T(1) / T(tokens - prefix));
          for (int64_t t = prefix; t < tokens; t++) store_n<T>(to + t * d + i, load_n(to + t * d + i, l) + g, l);
        });
      }
    });
  });
}

}  // namespace stflow
