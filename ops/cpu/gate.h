// The inside of the reference's SwiGLU block for one row: h = dropout(silu(u1) * u2), then layer normalisation.
// u has 2m numbers (u1 first), h has m. Shared by every kernel that fuses the block.
#pragma once
#include <type_traits>

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

/// The same block for R rows of m = 16 V at once, from the hidden layer to its gradient. A row alone would wait for its own sums,
/// one after the other; R rows fill each other's gaps. Without Back it keeps only what the normalised row is made of.
template <int V, int R, bool Back, class T> struct GateRows {
  static constexpr int64_t m = V * kLanes;
  static constexpr int kept = 1 + int(Back) * (V - 1);
  Vec<T> centred[R][V];                                    // h - mean(h)
  Vec<T> value[R][kept], slope[R][kept], linear[R][kept];  // silu(u1), its derivative, u2
  T scale[R];

  /// u(r, c): the sixteen numbers of row r's hidden layer from c on. mask: (R, m) or null.
  template <class U> STFLOW_INLINE void forward(U u, const T* mask, T eps) {
    Vec<T> s[R], q[R];
    for (int r = 0; r < R; r++) {
      Vec<T> total{};
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        Vec<T> h, u2 = u(r, m + v * kLanes);
        if constexpr (Back) {
          h = value[r][v] = silu<T>(u(r, v * kLanes), slope[r][v]);
          linear[r][v] = u2;
        } else {
          h = silu<T>(u(r, v * kLanes));
        }
        h *= u2;
        if (mask) h *= load(mask + r * m + v * kLanes);
        centred[r][v] = h;
        total += h;
      }
      s[r] = total;
    }
    for (int r = 0; r < R; r++) {
      const T mean = sum<T>(s[r]) / T(m);
      Vec<T> total{};
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        const Vec<T> d = centred[r][v] - mean;
        centred[r][v] = d;
        total = fma<T>(d, d, total);
      }
      q[r] = total;
    }
    for (int r = 0; r < R; r++) scale[r] = T(1) / std::sqrt(sum<T>(q[r]) / T(m) + eps);
  }
  /// g(r, v): sixteen numbers of the gradient of normalised row r, mean_g(r) its mean. du(r, c, v) takes the sixteen of the
  /// hidden layer's gradient from c on.
  template <class G, class M, class U> STFLOW_INLINE void backward(G g, M mean_g, const T* mask, U du) const {
    Vec<T> sgn[R];
    for (int r = 0; r < R; r++) {
      Vec<T> total{};
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) total = fma<T>(g(r, v), centred[r][v], total);
      sgn[r] = total;
    }
    for (int r = 0; r < R; r++) {
      const T along = sum<T>(sgn[r]) / T(m) * scale[r] * scale[r], mean = mean_g(r);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        Vec<T> d = (g(r, v) - mean - centred[r][v] * along) * scale[r];
        if (mask) d *= load(mask + r * m + v * kLanes);
        du(r, v * kLanes, d * linear[r][v] * slope[r][v]);
        du(r, m + v * kLanes, d * value[r][v]);
      }
    }
  }
};

/// f(row, integral_constant R) over [0, count) in groups of four rows, then one by one.
template <class F> STFLOW_INLINE void in_groups(int64_t count, F f) {
  int64_t r = 0;
  for (; r + 4 <= count; r += 4) f(r, std::integral_constant<int, 4>{});
  for (; r < count; r++) f(r, std::integral_constant<int, 1>{});
}

/// f(integral_constant V) for rows of m = 16 V that GateRows takes, else for V = 0.
template <class F> STFLOW_INLINE void by_gate_width(int64_t m, F f) {
  switch (m) {
    case kLanes: return f(std::integral_constant<int, 1>{});
    case 2 * kLanes: return f(std::integral_constant<int, 2>{});
    case 4 * kLanes: return f(std::integral_constant<int, 4>{});
    default: return f(std::integral_constant<int, 0>{});
  }
}

}  // namespace
}  // namespace stflow
