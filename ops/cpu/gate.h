// The inside of the reference's SwiGLU block for one row: h = dropout(silu(u1) * u2), then layer normalisation.
// u has 2m numbers (u1 first), h has m. Shared by every kernel that fuses the block.
#pragma once
#include "ops/cpu/math.h"
#include "ops/cpu/simd.h"

namespace stflow {
namespace {

template <class T> struct RowStats { T mean, scale; };  // scale = 1 / sqrt(var + eps)

/// h = silu(u1) * u2 * mask (mask null: none); returns h's statistics. h may be u.
template <class T> STFLOW_INLINE RowStats<T> gate_row(const T* u, const T* mask, int64_t m, T eps, T* h) {
  Vec<T> s{}, q{};
  lanes_of(m, [&](int64_t i, int l) {
    Vec<T> v = silu<T>(load_n(u + i, l)) * load_n(u + m + i, l);
    if (mask) v *= load_n(mask + i, l);
    store_n<T>(h + i, v, l);
    s += v;
  });
  const T mean = sum<T>(s) / T(m);
  lanes_of(m, [&](int64_t i, int l) {
    const Vec<T> d = load_n(h + i, l, mean) - mean;
    q = fma<T>(d, d, q);
  });
  return {mean, T(1) / std::sqrt(sum<T>(q) / T(m) + eps)};
}

/// Through the normalisation, in place: with n = (h - mean) scale, g becomes scale (g - mean(g) - n mean(g n)).
template <class T> STFLOW_INLINE void normalise_row_backward(const T* h, RowStats<T> r, int64_t m, T* g) {
  Vec<T> sg{}, sgn{};
  lanes_of(m, [&](int64_t i, int l) {
    const Vec<T> v = load_n(g + i, l);
    sg += v;
    sgn = fma<T>(v, (load_n(h + i, l, r.mean) - r.mean) * r.scale, sgn);
  });
  const T mg = sum<T>(sg) / T(m), mgn = sum<T>(sgn) / T(m);
  lanes_of(m, [&](int64_t i, int l) {
    const Vec<T> n = (load_n(h + i, l, r.mean) - r.mean) * r.scale;
    store_n<T>(g + i, (load_n(g + i, l) - mg - n * mgn) * r.scale, l);
  });
}

/// Through the gate: dh (m) -> du (2m), written. du may not overlap u or dh.
template <class T> STFLOW_INLINE void gate_row_backward(const T* u, const T* mask, const T* dh, int64_t m, T* du) {
  lanes_of(m, [&](int64_t i, int l) {
    Vec<T> d = load_n(dh + i, l);
    if (mask) d *= load_n(mask + i, l);
    const Vec<T> a = load_n(u + i, l), s = sigmoid<T>(a), as = a * s;
    store_n<T>(du + m + i, d * as, l);
    store_n<T>(du + i, d * load_n(u + m + i, l) * (s + as - as * s), l);  // silu' = s + a s (1 - s)
  });
}

}  // namespace
}  // namespace stflow
