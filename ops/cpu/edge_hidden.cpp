#include "ops/edge_hidden.h"

#include "ops/cpu/dropout_mask.h"
#include "ops/cpu/gate.h"

namespace stflow {
namespace {

constexpr float kEps = 1e-5f;

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

// The frames of one edge: y (F, m), or their mean (m). mask (F, m) or null. V > 0 where m is 16 V.
template <int V, class T> STFLOW_INLINE void forward_edge(const EdgeHidden& a, Hidden<T> hidden, const T* mask, T* y) {
  const int64_t m = a.half(), F = a.frames.shape[2];
  const T *nw = a.norm_weight.as<T>(), *nb = a.norm_bias.as<T>();
  if constexpr (V > 0) {
    Vec<T> total[V]{};
    in_groups(F, [&](int64_t f, auto group) {
      GateRows<V, group(), false, T> gate;
      gate.forward([&](int r, int64_t c) STFLOW_INLINE_LAMBDA { return hidden(f + r, c); }, mask ? mask + f * m : nullptr, T(kEps));
      for (int r = 0; r < group(); r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
          const int64_t c = v * kLanes;
          if (a.mean) total[v] = fma<T>(gate.centred[r][v], splat(gate.scale[r]), total[v]);
          else store(y + (f + r) * m + c, fma<T>(gate.centred[r][v] * gate.scale[r], load(nw + c), load(nb + c)));
        }
    });
    for (int v = 0; v < V && a.mean; v++)
      store(y + v * kLanes, fma<T>(total[v] * (T(1) / T(F)), load(nw + v * kLanes), load(nb + v * kLanes)));
  } else {
    alignas(64) T u[kEdgeWidth];
    for (int64_t f = 0; f < F; f++) {
      fc1(hidden.x + f * 3, hidden.w, 2 * m, u);
      const RowStats<T> r = gate_row<T>(u, mask ? mask + f * m : nullptr, m, T(kEps), u);
      const bool last = f == F - 1;
      lanes_of(m, [&](int64_t i, int l) {
        Vec<T> n = (load_n(u + i, l) - r.mean) * r.scale;
        if (a.mean) {
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

template <int V, class T> void forward(const EdgeHidden& a, T* y) {
  const int64_t m = a.half(), F = a.frames.shape[2];
  alignas(64) T w[4 * kEdgeWidth];
  by_column(a, w);
  parallel_for(a.edges(), 1 + 2048 / (m * F + 1), [&](int64_t begin, int64_t end) {
    alignas(64) T mask[kEdgeFrames * kEdgeWidth / 2];
    for (int64_t e = begin; e < end; e++) {
      if (a.dropout.active()) dropout_mask(a.dropout, e * F * m, F * m, mask);
      forward_edge<V>(a, Hidden<T>{a.frames.as<T>() + e * F * 3, w, m}, a.dropout.active() ? mask : nullptr, y + e * (a.mean ? m : F * m));
    }
  });
}

// One edge back: du (F, 2m) of its frames; the sums of dy n and of dy (n = normalised h). d: the edge's gradient, (F, m) or (m).
template <int V, class T>
STFLOW_INLINE void backward_edge(const EdgeHidden& a, Hidden<T> hidden, const T* mask, const T* d, T* pnw, T* pnb, T* du) {
  const int64_t m = a.half(), F = a.frames.shape[2], next = a.mean ? 0 : m;  // from a frame's gradient to the next
  const T* nw = a.norm_weight.as<T>();
  const T part = a.mean ? T(1) / T(F) : T(1);
  if constexpr (V > 0) {
    in_groups(F, [&](int64_t f, auto group) {
      const T* keep = mask ? mask + f * m : nullptr;
      GateRows<V, group(), true, T> gate;
      gate.forward([&](int r, int64_t c) STFLOW_INLINE_LAMBDA { return hidden(f + r, c); }, keep, T(kEps));
      Vec<T> g[group()][V];
      for (int r = 0; r < group(); r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
          const int64_t c = v * kLanes;
          const Vec<T> dy = load(d + (f + r) * next + c) * part;
          store(pnw + c, fma<T>(dy, gate.centred[r][v] * gate.scale[r], load(pnw + c)));
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
      const RowStats<T> r = gate_row<T>(u, keep, m, T(kEps), h);
      lanes_of(m, [&](int64_t i, int l) {
        const Vec<T> v = load_n(d + f * next + i, l) * part, n = (load_n(h + i, l) - r.mean) * r.scale;
        store_n<T>(pnw + i, fma<T>(v, n, load_n(pnw + i, l)), l);
        store_n<T>(pnb + i, load_n(pnb + i, l) + v, l);
        store_n<T>(g + i, v * load_n(nw + i, l), l);
      });
      normalise_row_backward<T>(h, r, m, g);
      gate_row_backward<T>(u, keep, g, m, du + f * 2 * m);
    }
  }
}

template <int V, class T> void backward(const EdgeHidden& a, const T* dy, T* dw1, T* db1, T* dnw, T* dnb, T* scratch) {
  const int64_t m = a.half(), F = a.frames.shape[2], edges = a.edges(), pieces = a.pieces(), share = (edges + pieces - 1) / pieces;
  alignas(64) T w[4 * kEdgeWidth];
  by_column(a, w);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    alignas(64) T du[kEdgeFrames * kEdgeWidth];
    alignas(64) T mask[kEdgeFrames * kEdgeWidth / 2];
    T *pw = scratch + piece * 10 * m, *pnw = pw + 8 * m, *pnb = pnw + m;  // pw: minor, major, distance, bias
    std::memset(pw, 0, size_t(10 * m) * sizeof(T));
    const int64_t stop = (piece + 1) * share < edges ? (piece + 1) * share : edges;
    for (int64_t e = piece * share; e < stop; e++) {
      const T* x = a.frames.as<T>() + e * F * 3;
      if (a.dropout.active()) dropout_mask(a.dropout, e * F * m, F * m, mask);
      backward_edge<V>(a, Hidden<T>{x, w, m}, a.dropout.active() ? mask : nullptr, dy + e * (a.mean ? m : F * m), pnw, pnb, du);
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
  });
  for (int64_t piece = 0; piece < pieces; piece++) {
    const T* p = scratch + piece * 10 * m;
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
}

}  // namespace

template <> void edge_hidden_forward(ThisIsa, const EdgeHidden& a, Tensor y) {
  by_type(y.type, [&](auto zero) { by_gate_width(a.half(), [&](auto v) { forward<v()>(a, y.as<decltype(zero)>()); }); });
}

template <>
void edge_hidden_backward(ThisIsa, const EdgeHidden& a, Tensor dy, Tensor dw1, Tensor db1, Tensor dnw, Tensor dnb, void* scratch) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    by_gate_width(a.half(), [&](auto v) {
      backward<v()>(a, dy.as<T>(), dw1.as<T>(), db1.as<T>(), dnw.as<T>(), dnb.as<T>(), static_cast<T*>(scratch));
    });
  });
}

}  // namespace stflow
