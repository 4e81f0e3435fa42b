#include "ops/masked_mse.h"

#include "ops/cpu/simd.h"

namespace stflow {

template <> void masked_mse_forward(ThisIsa, Tensor x, Tensor target, Tensor weight, Tensor y, void* scratch) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = x.rows(), n = x.cols(), pieces = masked_mse_pieces(rows), share = (rows + pieces - 1) / pieces;
    T* partial = static_cast<T*>(scratch);
    parallel_for(pieces, 1, [=](int64_t piece, int64_t) {
      T total = 0;
      const int64_t end = (piece + 1) * share < rows ? (piece + 1) * share : rows;
      for (int64_t r = piece * share; r < end; r++) {
        const T w = weight.as<T>()[r];
        if (w == 0) continue;
        const T *a = x.as<T>() + r * n, *b = target.as<T>() + r * n;
        Vec<T> s{};
        lanes_of(n, [&](int64_t i, int l) {
          const Vec<T> d = load_n(a + i, l) - load_n(b + i, l);
          s = fma<T>(d, d, s);
        });
        total += w * sum<T>(s);
      }
      partial[piece] = total;
    });
    T total = 0;
    for (int64_t p = 0; p < pieces; p++) total += partial[p];
    *y.as<T>() = total / T(n);
  });
}

template <> void masked_mse_backward(ThisIsa, Tensor x, Tensor target, Tensor weight, Tensor dy, Tensor dx) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = x.cols();
    const T g = *dy.as<T>() * 2 / T(n);
    parallel_for(x.rows(), row_grain(n), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T w = weight.as<T>()[r] * g;
        if (w == 0) continue;
        const T *a = x.as<T>() + r * n, *b = target.as<T>() + r * n;
        T* d = dx.as<T>() + r * n;
        lanes_of(n,
                 [&](int64_t i, int l) { store_n<T>(d + i, fma<T>(load_n(a + i, l) - load_n(b + i, l), splat(w), load_n(d + i, l)), l); });
      }
    });
  });
}

}  // namespace stflow
