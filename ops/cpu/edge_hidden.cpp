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

template <class T> void forward(const EdgeHidden& a, T* y) {
  const int64_t m = a.half(), F = a.frames.shape[2];
  const T *x = a.frames.as<T>(), *nw = a.norm_weight.as<T>(), *nb = a.norm_bias.as<T>();
  alignas(64) T w[4 * kEdgeWidth];
  by_column(a, w);
  parallel_for(a.edges(), 1 + 2048 / (m * F + 1), [&](int64_t begin, int64_t end) {
    alignas(64) T u[kEdgeWidth];
    alignas(64) T mask[kEdgeFrames * kEdgeWidth / 2];
    for (int64_t e = begin; e < end; e++) {
      if (a.dropout.active()) dropout_mask(a.dropout, e * F * m, F * m, mask);
      T* ye = y + e * (a.mean ? m : F * m);
      for (int64_t f = 0; f < F; f++) {
        fc1(x + (e * F + f) * 3, w, 2 * m, u);
        const RowStats<T> r = gate_row<T>(u, a.dropout.active() ? mask + f * m : nullptr, m, T(kEps), u);
        const bool last = f == F - 1;
        lanes_of(m, [&](int64_t i, int l) {
          Vec<T> n = (load_n(u + i, l) - r.mean) * r.scale;
          if (a.mean) {
            if (f > 0) n += load_n(ye + i, l);
            if (last) n = fma<T>(n * (T(1) / T(F)), load_n(nw + i, l), load_n(nb + i, l));
            store_n<T>(ye + i, n, l);
          } else {
            store_n<T>(ye + f * m + i, fma<T>(n, load_n(nw + i, l), load_n(nb + i, l)), l);
          }
        });
      }
    }
  });
}

template <class T> void backward(const EdgeHidden& a, const T* dy, T* dw1, T* db1, T* dnw, T* dnb, T* scratch) {
  const int64_t m = a.half(), F = a.frames.shape[2], edges = a.edges(), pieces = a.pieces(), share = (edges + pieces - 1) / pieces;
  const T *x = a.frames.as<T>(), *nw = a.norm_weight.as<T>();
  alignas(64) T w[4 * kEdgeWidth];
  by_column(a, w);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    alignas(64) T u[kEdgeWidth];
    alignas(64) T h[kEdgeWidth / 2];
    alignas(64) T g[kEdgeWidth / 2];
    alignas(64) T du[kEdgeFrames * kEdgeWidth];
    alignas(64) T mask[kEdgeFrames * kEdgeWidth / 2];
    T *pw = scratch + piece * 10 * m, *pnw = pw + 8 * m, *pnb = pnw + m;  // pw: minor, major, distance, bias
    std::memset(pw, 0, size_t(10 * m) * sizeof(T));
    const int64_t stop = (piece + 1) * share < edges ? (piece + 1) * share : edges;
    for (int64_t e = piece * share; e < stop; e++) {
      if (a.dropout.active()) dropout_mask(a.dropout, e * F * m, F * m, mask);
      for (int64_t f = 0; f < F; f++) {
        const T* keep = a.dropout.active() ? mask + f * m : nullptr;
        const T* d = dy + (a.mean ? e * m : (e * F + f) * m);
        const T part = a.mean ? T(1) / T(F) : T(1);
        fc1(x + (e * F + f) * 3, w, 2 * m, u);
        const RowStats<T> r = gate_row<T>(u, keep, m, T(kEps), h);
        lanes_of(m, [&](int64_t i, int l) {
          const Vec<T> v = load_n(d + i, l) * part, n = (load_n(h + i, l) - r.mean) * r.scale;
          store_n<T>(pnw + i, fma<T>(v, n, load_n(pnw + i, l)), l);
          store_n<T>(pnb + i, load_n(pnb + i, l) + v, l);
          store_n<T>(g + i, v * load_n(nw + i, l), l);
        });
        normalise_row_backward<T>(h, r, m, g);
        gate_row_backward<T>(u, keep, g, m, du + f * 2 * m);
      }
      // All frames of an edge at once, so that each sum is read and written once an edge.
      lanes_of(2 * m, [&](int64_t i, int l) {
        Vec<T> minor = load_n(pw + i, l), major = load_n(pw + 2 * m + i, l), distance = load_n(pw + 4 * m + i, l),
               bias = load_n(pw + 6 * m + i, l);
        for (int64_t f = 0; f < F; f++) {
          const Vec<T> v = load_n(du + f * 2 * m + i, l);
          const T* xf = x + (e * F + f) * 3;
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
  by_type(y.type, [&](auto zero) { forward(a, y.as<decltype(zero)>()); });
}

template <>
void edge_hidden_backward(ThisIsa, const EdgeHidden& a, Tensor dy, Tensor dw1, Tensor db1, Tensor dnw, Tensor dnb, void* scratch) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    backward(a, dy.as<T>(), dw1.as<T>(), db1.as<T>(), dnw.as<T>(), dnb.as<T>(), static_cast<T*>(scratch));
  });
}

}  // namespace stflow
