#include "ops/window_attention.h"

#include "ops/cpu/softmax_row.h"
#include "ops/gemm.h"

namespace stflow {
namespace {

constexpr ThisIsa kIsa{};
constexpr int64_t round16(int64_t n) { return (n + 15) / 16 * 16; }

/// What one piece of the windows works in: the rows of one window and head side by side.
template <class T> struct Work {
  T *q, *k, *v, *o, *grad, *p, *g, *turned, *packed, *sums;
  int64_t heads, n, d, cells;
  T scale;

  Work(const Tensor& qkv, int heads_, const WindowGrid& grid, bool backward, T* scratch, int64_t piece, int64_t pieces)
      : heads(heads_), n(qkv.shape[2] / 3 / heads_), d(qkv.shape[2] / 3), cells(grid.cells()), scale(T(1 / std::sqrt(double(n)))) {
    const int64_t rows = round16(cells * n), square = round16(cells * cells), shared = heads * square;
    const int64_t each = (window_attention_scratch(Device::cpu, qkv, heads_, grid, backward) - shared) / pieces;
    q = scratch + shared + piece * each;
    k = q + rows, v = k + rows, o = v + rows, grad = o + rows;
    p = grad + rows, g = p + square, turned = g + square, packed = turned + square;
    sums = q + each - shared;
  }
  /// The rows of a window from an array (images, side^2, stride), columns from `column` on.
  void gather(const T* from, int64_t stride, int64_t column, const WindowGrid& grid, int64_t w, T* to) const {
    for (int64_t i = 0; i < cells; i++) std::memcpy(to + i * n, from + grid.cell(w, i) * stride + column, size_t(n) * sizeof(T));
  }
  /// to (cells, n) = p (cells, cells) times b (cells, n).
  void product(const T* left, const T* b, T* to) const {
    pack_weights(kIsa, b, n, true, n, cells, packed);
    gemm_rows(kIsa, left, cells, cells, packed, n, cells, to, n, false);
  }
  /// to (cells, cells) = a b^T.
  void scores(const T* a, const T* b, T* to) const {
    pack_weights(kIsa, b, n, false, cells, n, packed);
    gemm_rows(kIsa, a, n, cells, packed, cells, n, to, cells, false);
  }
  /// p = softmax(scale q k^T + bias) for cells of one part of the map.
  void softmax(const T* bias, const WindowGrid& grid, int64_t w) const {
    scores(q, k, p);
    for (int64_t i = 0; i < cells; i++) {
      T* row = p + i * cells;
      lanes_of(cells, [&](int64_t j, int l) {
        store_n<T>(row + j, fma<T>(load_n(row + j, l), splat(scale), load_n(bias + i * cells + j, l)), l);
      });
      if (grid.shift)
        for (int64_t j = 0; j < cells; j++)
          if (grid.part(w, i) != grid.part(w, j)) row[j] = T(-1e30);
      const T total = exponentials(row, cells, T(1), largest(row, cells));
      multiply(row, cells, T(1) / total);
    }
  }
};

/// The table of biases spread out: (heads, cells, cells).
template <class T> void spread(const Tensor& bias, const WindowGrid& grid, int64_t heads, T* to) {
  const int64_t cells = grid.cells(), square = round16(cells * cells);
  for (int64_t h = 0; h < heads; h++)
    for (int64_t i = 0; i < cells; i++)
      for (int64_t j = 0; j < cells; j++) to[h * square + i * cells + j] = bias.as<T>()[grid.offset(i, j) * heads + h];
}

/// Calls f(work, image, window, head) for all of them, each piece of the windows on one thread.
template <class T, class F> void each_window(const Tensor& qkv, int heads, const WindowGrid& grid, bool backward, T* scratch, F f) {
  const int64_t windows = qkv.shape[0] * grid.count(), pieces = window_pieces(windows);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    const Work<T> work(qkv, heads, grid, backward, scratch, piece, pieces);
    if (backward) std::memset(work.sums, 0, size_t(heads * round16(work.cells * work.cells)) * sizeof(T));
    for (int64_t i = piece * windows / pieces; i < (piece + 1) * windows / pieces; i++)
      for (int64_t h = 0; h < heads; h++) f(work, i / grid.count(), i % grid.count(), h);
  });
}

}  // namespace

template <> void window_attention_forward(ThisIsa, Tensor qkv, Tensor bias, int heads, WindowGrid grid, Tensor out, void* scratch) {
  by_type(qkv.type, [&](auto zero) {
    using T = decltype(zero);
    auto* biases = static_cast<T*>(scratch);
    const int64_t tokens = qkv.shape[1], square = round16(grid.cells() * grid.cells());
    spread(bias, grid, heads, biases);
    each_window<T>(qkv, heads, grid, false, biases, [&](const Work<T>& a, int64_t image, int64_t w, int64_t h) {
      const T* from = qkv.as<T>() + image * tokens * 3 * a.d;
      a.gather(from, 3 * a.d, h * a.n, grid, w, a.q);
      a.gather(from, 3 * a.d, a.d + h * a.n, grid, w, a.k);
      a.gather(from, 3 * a.d, 2 * a.d + h * a.n, grid, w, a.v);
      a.softmax(biases + h * square, grid, w);
      a.product(a.p, a.v, a.o);
      T* to = out.as<T>() + image * tokens * a.d + h * a.n;
      for (int64_t i = 0; i < a.cells; i++) std::memcpy(to + grid.cell(w, i) * a.d, a.o + i * a.n, size_t(a.n) * sizeof(T));
    });
  });
}

// With g = dout v^T and D = the sum of p g per query:  ds = p (g - D),  dv += p^T dout,  dq += scale ds k,  dk += scale ds^T q, and ds
// is the gradient of the bias. A cell lies in one window: nobody else adds to it.
template <>
void window_attention_backward(ThisIsa, Tensor qkv, Tensor bias, int heads, WindowGrid grid, Tensor dout, Tensor dqkv, Tensor dbias,
                               void* scratch) {
  by_type(qkv.type, [&](auto zero) {
    using T = decltype(zero);
    auto* biases = static_cast<T*>(scratch);
    const int64_t tokens = qkv.shape[1], cells = grid.cells(), square = round16(cells * cells);
    spread(bias, grid, heads, biases);
    each_window<T>(qkv, heads, grid, true, biases, [&](const Work<T>& a, int64_t image, int64_t w, int64_t h) {
      const T* from = qkv.as<T>() + image * tokens * 3 * a.d;
      a.gather(from, 3 * a.d, h * a.n, grid, w, a.q);
      a.gather(from, 3 * a.d, a.d + h * a.n, grid, w, a.k);
      a.gather(from, 3 * a.d, 2 * a.d + h * a.n, grid, w, a.v);
      a.gather(dout.as<T>() + image * tokens * a.d, a.d, h * a.n, grid, w, a.grad);
      a.softmax(biases + h * square, grid, w);
      a.scores(a.grad, a.v, a.g);
      for (int64_t i = 0; i < cells; i++) {
        T *p = a.p + i * cells, *g = a.g + i * cells, *sum = a.sums + h * square + i * cells;
        const T own = dot(p, g, cells);
        lanes_of(cells, [&](int64_t j, int l) {
          const Vec<T> ds = load_n(p + j, l) * (load_n(g + j, l) - own);
          store_n<T>(g + j, ds, l);
          store_n<T>(sum + j, load_n(sum + j, l) + ds, l);
        });
      }
      if (!dqkv.data) return;
      T* to = dqkv.as<T>() + image * tokens * 3 * a.d + h * a.n;
      auto add = [&](int64_t column, T by) {
        for (int64_t i = 0; i < cells; i++) add_scaled(a.o + i * a.n, by, to + grid.cell(w, i) * 3 * a.d + column, a.n);
      };
      auto turn = [&](const T* m) {
        for (int64_t i = 0; i < cells; i++)
          for (int64_t j = 0; j < cells; j++) a.turned[j * cells + i] = m[i * cells + j];
      };
      a.product(a.g, a.k, a.o), add(0, a.scale);
      turn(a.g), a.product(a.turned, a.q, a.o), add(a.d, a.scale);
      turn(a.p), a.product(a.turned, a.grad, a.o), add(2 * a.d, T(1));
    });
    if (!dbias.data) return;
    const int64_t pieces = window_pieces(qkv.shape[0] * grid.count());
    for (int64_t piece = 0; piece < pieces; piece++) {
      const Work<T> a(qkv, heads, grid, true, biases, piece, pieces);
      for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < cells; i++)
          for (int64_t j = 0; j < cells; j++) dbias.as<T>()[grid.offset(i, j) * heads + h] += a.sums[h * square + i * cells + j];
    }
  });
}

}  // namespace stflow
