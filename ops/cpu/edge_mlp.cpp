#include "ops/edge_mlp.h"

#include "engine/op.h"
#include "ops/cpu/edge_frames.h"
#include "ops/gemm.h"

namespace stflow {
namespace {

/// Masks of one edge on the stack, drawn when a dropout is active.
template <class T, int64_t Most> struct Mask {
  alignas(64) T of[Most];
  const T* draw(const Dropout& d, int64_t edge, int64_t numbers) {
    if (!d.active()) return nullptr;
    dropout_mask(d, edge * numbers, numbers, of);
    return of;
  }
};

template <class T> STFLOW_INLINE Vec<T> masked(Vec<T> v, const T* mask, int64_t i, int l) { return mask ? v * load_n(mask + i, l) : v; }

template <int V, class T> void forward(ThisIsa isa, const EdgeMlp& a, T* y, T* packed, T* work) {
  const int64_t m = a.half(), e = a.outputs(), F = a.frames(), edges = a.edges(), group = a.group(), pieces = a.pieces();
  const T *frames = a.hidden.frames.as<T>(), *bias = a.fc2_bias.as<T>(), share = T(1) / T(F);
  alignas(64) T w[4 * kEdgeWidth];
  by_column(a.hidden, w);
  pack_weights(isa, a.fc2_weight.as<const T>(), m, false, e, m, packed);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    T *h = work + piece * 2 * kEdgeGroup, *out = h + kEdgeGroup;
    Mask<T, kEdgeFrames * kEdgeWidth / 2> inner;
    Mask<T, kEdgeFrames * kEdgeWidth> outer;
    const int64_t stop = (piece + 1) * edges / pieces;
    for (int64_t first = piece * edges / pieces; first < stop; first += group) {
      const int64_t count = stop - first < group ? stop - first : group;
      for (int64_t i = 0; i < count; i++)
        forward_edge<V, false>(a.hidden, Hidden<T>{frames + (first + i) * F * 3, w, m}, inner.draw(a.hidden.dropout, first + i, F * m),
                               h + i * F * m);
      gemm_rows(isa, static_cast<const T*>(h), m, count * F, static_cast<const T*>(packed), e, m, out, e, false);
      for (int64_t i = 0; i < count; i++) {
        const T *mask = outer.draw(a.outer, first + i, F * e), *rows = out + i * F * e;
        T* to = y + (first + i) * e;
        lanes_of(e, [&](int64_t c, int l) {
          const Vec<T> b = load_n(bias + c, l);
          Vec<T> total{};
          for (int64_t f = 0; f < F; f++) total += masked<T>(load_n(rows + f * e + c, l) + b, mask, f * e + c, l);
          store_n<T>(to + c, total * share, l);
        });
      }
    }
  });
}

// Sums of a piece, in this order: fc1 (8m), norm weight and bias (m each), fc2's weight (e m) and bias (e).
template <int V, class T> void backward(ThisIsa isa, const EdgeMlp& a, const T* dy, const EdgeMlpGrads& d, T* packed, T* work) {
  const int64_t m = a.half(), e = a.outputs(), F = a.frames(), edges = a.edges(), group = a.group();
  const int64_t pieces = a.pieces(), stride = 4 * kEdgeGroup + a.partial();  // of a piece
  const T *frames = a.hidden.frames.as<T>(), share = T(1) / T(F);
  alignas(64) T w[4 * kEdgeWidth];
  by_column(a.hidden, w);
  pack_weights(isa, a.fc2_weight.as<const T>(), m, true, m, e, packed);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    T *h = work + piece * stride, *dh = h + kEdgeGroup, *dout = dh + kEdgeGroup, *panels = dout + kEdgeGroup;
    alignas(64) T du[kEdgeFrames * kEdgeWidth];
    Mask<T, kEdgeFrames * kEdgeWidth / 2> inner;
    Mask<T, kEdgeFrames * kEdgeWidth> outer;
    T *fc1 = panels + kEdgeGroup, *norm_weight = fc1 + 8 * m, *norm_bias = norm_weight + m, *fc2 = norm_bias + m, *bias = fc2 + e * m;
    std::memset(fc1, 0, size_t(a.partial()) * sizeof(T));
    const int64_t stop = (piece + 1) * edges / pieces;
    for (int64_t first = piece * edges / pieces; first < stop; first += group) {
      const int64_t count = stop - first < group ? stop - first : group;
      for (int64_t i = 0; i < count; i++) {
        const T *mask = outer.draw(a.outer, first + i, F * e), *from = dy + (first + i) * e;
        lanes_of(e, [&](int64_t c, int l) {
          const Vec<T> part = load_n(from + c, l) * share;
          Vec<T> total = load_n(bias + c, l);
          for (int64_t f = 0; f < F; f++) {
            const Vec<T> v = masked<T>(part, mask, f * e + c, l);
            store_n<T>(dout + (i * F + f) * e + c, v, l);
            total += v;
          }
          store_n<T>(bias + c, total, l);
        });
      }
      gemm_rows(isa, static_cast<const T*>(dout), e, count * F, static_cast<const T*>(packed), m, e, dh, m, false);
      for (int64_t i = 0; i < count; i++) {
        const T* x = frames + (first + i) * F * 3;
        backward_edge<V, false>(a.hidden, Hidden<T>{x, w, m}, inner.draw(a.hidden.dropout, first + i, F * m),
                                static_cast<const T*>(dh) + i * F * m, norm_weight, norm_bias, du, h + i * F * m);
        add_fc1(x, static_cast<const T*>(du), F, m, fc1);
      }
      gemm_transposed_rows(isa, static_cast<const T*>(dout), e, static_cast<const T*>(h), m, count * F, e, m, fc2, m, panels);
    }
  });
  for (int64_t piece = 0; piece < pieces; piece++) {
    const T* p = work + piece * stride + 4 * kEdgeGroup;
    add_piece(p, m, d.fc1_weight.as<T>(), d.fc1_bias.as<T>(), d.norm_weight.as<T>(), d.norm_bias.as<T>());
    for (int64_t i = 0; d.fc2_weight.data && i < e * m; i++) d.fc2_weight.as<T>()[i] += p[10 * m + i];
    for (int64_t i = 0; d.fc2_bias.data && i < e; i++) d.fc2_bias.as<T>()[i] += p[10 * m + e * m + i];
  }
}

/// What lies behind the packed weight of n columns and k rows.
template <class T> T* after_packed(void* scratch, int64_t n, int64_t k) {
  return reinterpret_cast<T*>(static_cast<char*>(scratch) + aligned(size_t(packed_elements(n, k)) * sizeof(T)));
}

}  // namespace

template <> void edge_mlp_forward(ThisIsa isa, const EdgeMlp& a, Tensor y, void* scratch) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    T* work = after_packed<T>(scratch, a.outputs(), a.half());
    by_gate_width(a.half(), [&](auto v) { forward<v()>(isa, a, y.as<T>(), static_cast<T*>(scratch), work); });
  });
}

template <> void edge_mlp_backward(ThisIsa isa, const EdgeMlp& a, Tensor dy, const EdgeMlpGrads& d, void* scratch) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    T* work = after_packed<T>(scratch, a.half(), a.outputs());
    by_gate_width(a.half(), [&](auto v) { backward<v()>(isa, a, dy.as<const T>(), d, static_cast<T*>(scratch), work); });
  });
}

}  // namespace stflow
