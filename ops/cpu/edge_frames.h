// The hidden layer of the edge MLP on the frames of one edge, forward and back: shared by edge_hidden (the mean over frames) and
// edge_mlp (every frame).
#pragma once
#include "ops/cpu/dropout_mask.h"
#include "ops/cpu/gate.h"
#include "ops/edge_hidden.h"

namespace stflow {
namespace {

constexpr float kEdgeEps = 1e-5f;

// fc1's columns as rows, so that 16 hidden units are read at once: minor, major, distance, bias.
template <class T> void by_column(const EdgeHidden& a, T* w) {
  const int64_t n = 2 * a.half();
  const T *weight = a.fc1_weight.as<T>(), *bias = a.fc1_bias.as<T>();
  for (int64_t c = 0; c < n; c++) {
    for (int64_t j = 0; j < 3; j++) w[j * n + c] = weight[c * 3 + j];
    w[3 * n + c] = bias[c];
  }
}

template <class T> STFLOW_INLINE void fc1(const T* x, const T* w, int64_t n, T* u) {
  const Vec<T> p = splat(x[0]), q = splat(x[1]), r = splat(x[2]);
  lanes_of(n, [&](int64_t i, int l) {
    const Vec<T> v =
        fma<T>(p, load_n(w + i, l), fma<T>(q, load_n(w + n + i, l), fma<T>(r, load_n(w + 2 * n + i, l), load_n(w + 3 * n + i, l))));
    store_n<T>(u + i, v, l);
  });
}

// What is read along an edge: the frames' coordinates x (F, 3) and fc1 as by_column leaves it.
template <class T> struct Hidden {
  const T *x, *w;
  int64_t m;
  STFLOW_INLINE Vec<T> operator()(int64_t frame, int64_t c) const {
    const T *p = x + frame * 3, *at = w + c;
    return fma<T>(splat(p[0]), load(at), fma<T>(splat(p[1]), load(at + 2 * m), fma<T>(splat(p[2]), load(at + 4 * m), load(at + 6 * m))));
  }
};

// The frames of one edge: y (F, m), or with Mean their mean (m). mask (F, m) or null. V > 0 where m is 16 V.
template <int V, bool Mean, class T> STFLOW_INLINE void forward_edge(const EdgeHidden& a, Hidden<T> hidden, const T* mask, T* y) {
  const int64_t m = a.half(), F = a.frames.shape[2];
  const T *nw = a.norm_weight.as<T>(), *nb = a.norm_bias.as<T>();
  if constexpr (V > 0) {
    Vec<T> total[V]{};
    in_groups(F, [&](int64_t f, auto group) {
      GateRows<V, group(), false, T> gate;
      gate.forward([&](int r, int64_t c) STFLOW_INLINE_LAMBDA { return hidden(f + r, c); }, mask ? mask + f * m : nullptr, T(kEdgeEps));
      for (int r = 0; r < group(); r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
          const int64_t c = v * kLanes;
          if (Mean) total[v] = fma<T>(gate.centred[r][v], splat(gate.scale[r]), total[v]);
          else store(y + (f + r) * m + c, fma<T>(gate.centred[r][v] * gate.scale[r], load(nw + c), load(nb + c)));
        }
    });
    for (int v = 0; Mean && v < V; v++)
      store(y + v * kLanes, fma<T>(total[v] * (T(1) / T(F)), load(nw + v * kLanes), load(nb + v * kLanes)));
  } else {
    alignas(64) T u[kEdgeWidth];
    for (int64_t f = 0; f < F; f++) {
      fc1(hidden.x + f * 3, hidden.w, 2 * m, u);
      const RowStats<T> r = gate_row<T>(u, mask ? mask + f * m : nullptr, m, T(kEdgeEps), u);
      const bool last = f == F - 1;
      lanes_of(m, [&](int64_t i, int l) {
        Vec<T> n = (load_n(u + i, l) - r.mean) * r.scale;
        if (Mean) {
          if (f > 0) n += load_n(y + i, l);
          if (last) n = fma<T>(n * (T(1) / T(F)), load_n(nw + i, l), load_n(nb + i, l));
          store_n<T>(y + i, n, l);
        } else {
          store_n<T>(y + f * m + i, fma<T>(n, load_n(nw + i, l), load_n(nb + i, l)), l);
        }
      });
    }
  }
}

// One edge back: du (F, 2m) of its frames; the sums of dy n and of dy (n = normalised h). d: the edge's gradient, (F, m), or (m) of the
// Mean. Without Mean, y (F, m) receives what forward_edge gives.
template <int V, bool Mean, class T>
STFLOW_INLINE void backward_edge(const EdgeHidden& a, Hidden<T> hidden, const T* mask, const T* d, T* pnw, T* pnb, T* du, T* y) {
  const int64_t m = a.half(), F = a.frames.shape[2], next = Mean ? 0 : m;  // from a frame's gradient to the next
  const T *nw = a.norm_weight.as<T>(), *nb = a.norm_bias.as<T>();
  const T part = Mean ? T(1) / T(F) : T(1);
  if constexpr (V > 0) {
    in_groups(F, [&](int64_t f, auto group) {
      const T* keep = mask ? mask + f * m : nullptr;
      GateRows<V, group(), true, T> gate;
      gate.forward([&](int r, int64_t c) STFLOW_INLINE_LAMBDA { return hidden(f + r, c); }, keep, T(kEdgeEps));
      Vec<T> g[group()][V];
      for (int r = 0; r < group(); r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
          const int64_t c = v * kLanes;
          const Vec<T> dy = load(d + (f + r) * next + c) * part, n = gate.centred[r][v] * gate.scale[r];
          if (!Mean) store(y + (f + r) * m + c, fma<T>(n, load(nw + c), load(nb + c)));
          store(pnw + c, fma<T>(dy, n, load(pnw + c)));
          store(pnb + c, load(pnb + c) + dy);
          g[r][v] = dy * load(nw + c);
        }
      const auto mean_g = [&](int r) STFLOW_INLINE_LAMBDA {
        Vec<T> total{};
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) total += g[r][v];
        return sum<T>(total) / T(m);
      };
      gate.backward([&](int r, int v) STFLOW_INLINE_LAMBDA { return g[r][v]; }, mean_g, keep,
                    [&](int r, int64_t c, Vec<T> x) STFLOW_INLINE_LAMBDA { store(du + (f + r) * 2 * m + c, x); });
    });
  } else {
    alignas(64) T u[kEdgeWidth];
    alignas(64) T h[kEdgeWidth / 2];
    alignas(64) T g[kEdgeWidth / 2];
    for (int64_t f = 0; f < F; f++) {
      const T* keep = mask ? mask + f * m : nullptr;
      fc1(hidden.x + f * 3, hidden.w, 2 * m, u);
      const RowStats<T> r = gate_row<T>(u, keep, m, T(kEdgeEps), h);
      lanes_of(m, [&](int64_t i, int l) {
        const Vec<T> v = load_n(d + f * next + i, l) * part, n = (load_n(h + i, l) - r.mean) * r.scale;
        if (!Mean) store_n<T>(y + f * m + i, fma<T>(n, load_n(nw + i, l), load_n(nb + i, l)), l);
        store_n<T>(pnw + i, fma<T>(v, n, load_n(pnw + i, l)), l);
        store_n<T>(pnb + i, load_n(pnb + i, l) + v, l);
        store_n<T>(g + i, v * load_n(nw + i, l), l);
      });
      normalise_row_backward<T>(h, r, m, g);
      gate_row_backward<T>(u, keep, g, m, du + f * 2 * m);
    }
  }
}

// Adds one edge's du (F, 2m) into fc1's sums pw: minor, major, distance and bias, each (2m).
template <class T> STFLOW_INLINE void add_fc1(const T* x, const T* du, int64_t F, int64_t m, T* pw) {
  // All frames of an edge at once, so that each sum is read and written once an edge.
  lanes_of(2 * m, [&](int64_t i, int l) {
    Vec<T> minor = load_n(pw + i, l), major = load_n(pw + 2 * m + i, l), distance = load_n(pw + 4 * m + i, l),
           bias = load_n(pw + 6 * m + i, l);
    for (int64_t f = 0; f < F; f++) {
      const Vec<T> v = load_n(du + f * 2 * m + i, l);
      const T* xf = x + f * 3;
      minor = fma<T>(v, splat(xf[0]), minor), major = fma<T>(v, splat(xf[1]), major), distance = fma<T>(v, splat(xf[2]), distance);
      bias += v;
    }
    store_n<T>(pw + i, minor, l), store_n<T>(pw + 2 * m + i, major, l), store_n<T>(pw + 4 * m + i, distance, l);
    store_n<T>(pw + 6 * m + i, bias, l);
  });
}

// Adds a piece's sums (fc1's 8m, norm weight m, norm bias m) into the gradients; each may be null.
template <class T> void add_piece(const T* p, int64_t m, T* dw1, T* db1, T* dnw, T* dnb) {
  for (int64_t c = 0; c < 2 * m; c++) {
    if (dw1)
      for (int64_t j = 0; j < 3; j++) dw1[c * 3 + j] += p[j * 2 * m + c];
    if (db1) db1[c] += p[6 * m + c];
  }
  for (int64_t c = 0; c < m; c++) {
    if (dnw) dnw[c] += p[8 * m + c];
    if (dnb) dnb[c] += p[9 * m + c];
  }
}

}  // namespace
}  // namespace stflow
