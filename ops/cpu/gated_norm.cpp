#include "ops/gated_norm.h"

#include "ops/cpu/dropout_mask.h"
#include "ops/cpu/gate.h"
#include "ops/cpu/reduce.h"

namespace stflow {
namespace {

/// The row's dropout mask, made in `memory`, or null.
template <class T> const T* mask_of(const Dropout& d, int64_t row, int64_t m, T* memory) {
  if (!d.active()) return nullptr;
  dropout_mask(d, row * m, m, memory);
  return memory;
}

template <class T> void forward(const GatedNorm& a, T* y, T* stats, int64_t rows, int64_t m) {
  parallel_for(rows, row_grain(2 * m), [=, &a](int64_t begin, int64_t end) {
    const T *w = a.weight.as<T>(), *b = a.bias.as<T>();
    T memory[kGatedNormWidth];
    for (int64_t r = begin; r < end; r++) {
      T* row = y + r * m;
      const RowStats<T> s = gate_row<T>(a.u.as<T>() + r * 2 * m, mask_of(a.dropout, r, m, memory), m, T(a.eps), row);
      lanes_of(m, [&](int64_t i, int l) {
        store_n<T>(row + i, fma<T>((load_n(row + i, l) - s.mean) * s.scale, load_n(w + i, l), load_n(b + i, l)), l);
      });
      if (stats) stats[2 * r] = s.mean, stats[2 * r + 1] = s.scale;
    }
  });
}

// Recomputes h of each row. g is the gradient of the normalised row, then of h.
template <class T>
void backward(const GatedNorm& a, const T* stats, const T* dy, T* du, T* dw, T* db, T* partial, int64_t rows, int64_t m) {
  reduce_rows<T>(
      rows, 2 * m, partial,
      [=, &a](int64_t r, T* sums) {
        T memory[kGatedNormWidth], h[kGatedNormWidth], g[kGatedNormWidth];
        const T *u = a.u.as<T>() + r * 2 * m, *d = dy + r * m, *w = a.weight.as<T>(), *mask = mask_of(a.dropout, r, m, memory);
        const T mean = stats[2 * r], scale = stats[2 * r + 1];
        lanes_of(m, [&](int64_t i, int l) {
          Vec<T> v = silu<T>(load_n(u + i, l)) * load_n(u + m + i, l);
          if (mask) v *= load_n(mask + i, l);
          const Vec<T> top = load_n(d + i, l);
          store_n<T>(h + i, v, l);
          store_n<T>(g + i, top * load_n(w + i, l), l);
          store_n<T>(sums + i, fma<T>(top, (v - mean) * scale, load_n(sums + i, l)), l);
          store_n<T>(sums + m + i, load_n(sums + m + i, l) + top, l);
        });
        if (!du) return;
        normalise_row_backward<T>(h, {mean, scale}, m, g);
        T* to = du + r * 2 * m;
        lanes_of(m, [&](int64_t i, int l) {
          Vec<T> top = load_n(g + i, l);
          if (mask) top *= load_n(mask + i, l);
          Vec<T> slope;
          const Vec<T> value = silu<T>(load_n(u + i, l), slope);
          store_n<T>(to + i, fma<T>(top * load_n(u + m + i, l), slope, load_n(to + i, l)), l);
          store_n<T>(to + m + i, fma<T>(top, value, load_n(to + m + i, l)), l);
        });
      },
      [=](int64_t i, T s) {
        if (i < m && dw) dw[i] += s;
        if (i >= m && db) db[i - m] += s;
      });
}

}  // namespace

template <> void gated_norm_forward(ThisIsa, const GatedNorm& a, Tensor y, Tensor stats) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    forward<T>(a, y.as<T>(), stats.as<T>(), y.rows(), y.cols());
  });
}

template <>
void gated_norm_backward(ThisIsa, const GatedNorm& a, Tensor stats, Tensor dy, Tensor du, Tensor dweight, Tensor dbias, void* scratch) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    backward<T>(a, stats.as<T>(), dy.as<T>(), du.as<T>(), dweight.as<T>(), dbias.as<T>(), static_cast<T*>(scratch), dy.rows(), dy.cols());
  });
}

}  // namespace stflow
