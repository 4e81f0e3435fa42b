#include "ops/cpu/edge_frames.h"

namespace stflow {
namespace {

template <int V, class T> void forward(const EdgeHidden& a, T* y) {
  const int64_t m = a.half(), F = a.frames.shape[2];
  alignas(64) T w[4 * kEdgeWidth];
  by_column(a, w);
  parallel_for(a.edges(), 1 + 2048 / (m * F + 1), [&](int64_t begin, int64_t end) {
    alignas(64) T mask[kEdgeFrames * kEdgeWidth / 2];
    for (int64_t e = begin; e < end; e++) {
      if (a.dropout.active()) dropout_mask(a.dropout, e * F * m, F * m, mask);
      forward_edge<V, true>(a, Hidden<T>{a.frames.as<T>() + e * F * 3, w, m}, a.dropout.active() ? mask : nullptr, y + e * m);
    }
  });
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
      backward_edge<V, true>(a, Hidden<T>{x, w, m}, a.dropout.active() ? mask : nullptr, dy + e * m, pnw, pnb, du, (T*)nullptr);
      add_fc1(x, du, F, m, pw);
    }
  });
  for (int64_t piece = 0; piece < pieces; piece++) add_piece(scratch + piece * 10 * m, m, dw1, db1, dnw, dnb);
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
