#include "ops/layernorm.h"

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

template <class T> void forward(const T* x, const T* w, const T* b, T eps, T* y, T* stats, int64_t rows, int64_t n) {
  parallel_for(rows, row_grain(n), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const T* xr = x + r * n;
      T* yr = y + r * n;
      Vec<T> s{}, q{};
      lanes_of(n, [&](int64_t i, int l) {
        s += load_n(xr + i, l);
        __builtin_prefetch(yr + i, 1);
      });
      const T mean = sum<T>(s) / T(n);
      lanes_of(n, [&](int64_t i, int l) {
        Vec<T> d = load_n(xr + i, l, mean) - mean;
        q = fma<T>(d, d, q);
      });
      const T scale = T(1) / std::sqrt(sum<T>(q) / T(n) + eps);
      lanes_of(n, [&](int64_t i, int l) {
        Vec<T> v = (load_n(xr + i, l) - mean) * scale;
        store_n<T>(yr + i, fma<T>(v, load_n(w + i, l), load_n(b + i, l)), l);
      });
      if (stats) stats[2 * r] = mean, stats[2 * r + 1] = scale;
    }
  });
}

// With h = (x - mean) * scale and g = dy * w:  dx += scale * (g - mean(g) - h * mean(g h)).
template <class T>
void backward(const T* x, const T* w, const T* stats, const T* dy, T* dx, T* dw, T* db, T* partial, int64_t rows, int64_t n) {
  const int64_t pieces = layernorm_partials(rows), share = (rows + pieces - 1) / pieces;
  parallel_for(pieces, 1, [=](int64_t piece, int64_t) {
    T *pw = partial + piece * 2 * n, *pb = pw + n;
    std::memset(pw, 0, size_t(2 * n) * sizeof(T));
    const int64_t end = (piece + 1) * share < rows ? (piece + 1) * share : rows;
    for (int64_t r = piece * share; r < end; r++) {
      const T *xr = x + r * n, *dyr = dy + r * n;
      const T mean = stats[2 * r], scale = stats[2 * r + 1];
      Vec<T> sg{}, sgh{};
      lanes_of(n, [&](int64_t i, int l) {
        const Vec<T> d = load_n(dyr + i, l), h = (load_n(xr + i, l, mean) - mean) * scale, g = d * load_n(w + i, l);
        sg += g;
        sgh = fma<T>(g, h, sgh);
        store_n<T>(pw + i, fma<T>(d, h, load_n(pw + i, l)), l);
        store_n<T>(pb + i, load_n(pb + i, l) + d, l);
      });
      if (!dx) continue;
      const T mg = sum<T>(sg) / T(n), mgh = sum<T>(sgh) / T(n);
      T* dxr = dx + r * n;
      lanes_of(n, [&](int64_t i, int l) {
        const Vec<T> h = (load_n(xr + i, l, mean) - mean) * scale, g = load_n(dyr + i, l) * load_n(w + i, l);
        store_n<T>(dxr + i, load_n(dxr + i, l) + (g - mg - h * mgh) * scale, l);
      });
    }
  });
  for (int64_t p = 0; p < pieces; p++)
    for (int64_t i = 0; i < n; i++) {
      if (dw) dw[i] += partial[p * 2 * n + i];
      if (db) db[i] += partial[p * 2 * n + n + i];
    }
}

}  // namespace

template <> void layernorm_forward(ThisIsa, Tensor x, Tensor weight, Tensor bias, double eps, Tensor y, Tensor stats) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    forward<T>(x.as<T>(), weight.as<T>(), bias.as<T>(), T(eps), y.as<T>(), stats.as<T>(), x.rows(), x.cols());
  });
}

template <>
void layernorm_backward(ThisIsa, Tensor x, Tensor weight, Tensor stats, Tensor dy, Tensor dx, Tensor dweight, Tensor dbias, void* scratch) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    backward<T>(x.as<T>(), weight.as<T>(), stats.as<T>(), dy.as<T>(), dx.as<T>(), dweight.as<T>(), dbias.as<T>(), static_cast<T*>(scratch),
                x.rows(), x.cols());
  });
}

}  // namespace stflow
