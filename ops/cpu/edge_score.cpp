#include "ops/edge_score.h"

#include "ops/cpu/dropout_mask.h"
#include "ops/cpu/gate.h"
#include "ops/cpu/small_gemm.h"

namespace stflow {
namespace {

constexpr float kEps = 1e-5f;
constexpr int64_t kChunk = 32;  // rows (edge, head) whose We e is computed together

// Pointers and sizes of one call. A row is one (spot, slot, head).
template <class T> struct Problem {
  int64_t k, heads, m2, m, width, rows;
  const T *query, *key, *gene, *edge, *we, *nw, *nb, *w2, *b2;
  const int32_t* neighbours;

  explicit Problem(const EdgeScore& a)
      : k(a.graph->k),
        heads(a.heads()),
        m2(2 * a.half()),
        m(a.half()),
        width(a.width()),
        rows(a.rows()),
        query(a.query.as<T>()),
        key(a.key.as<T>()),
        gene(a.gene.as<T>()),
        edge(a.edge.as<T>()),
        we(a.edge_weight.as<T>()),
        nw(a.norm_weight.as<T>()),
        nb(a.norm_bias.as<T>()),
        w2(a.fc2_weight.as<T>()),
        b2(a.fc2_bias.as<T>()),
        neighbours(a.graph->idx.template as<int32_t>()) {}

  // We e of rows [first, first + count) into `tile` (count, 2m); wt is We transposed (D, 2m).
  STFLOW_INLINE void edges(int64_t first, int64_t count, const T* wt, T* tile) const {
    const T* next = edge + (first + count) * width;
    for (int64_t i = 0; i < kChunk * width; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(next + i);
    small_gemm<T>(count, m2, width, edge + first * width, width, 1, wt, m2, tile, m2, false);
  }
  // What a row adds to its We e: Wq q_i + Wk k_j + Wg (g_j - g_i).
  struct Spots {
    const T *q, *p, *gi, *gj;
    STFLOW_INLINE Vec<T> add(Vec<T> u, int64_t c, int l) const {
      return u + load_n(q + c, l) + load_n(p + c, l) + (load_n(gj + c, l) - load_n(gi + c, l));
    }
    STFLOW_INLINE void add_to(T* u, int64_t m2) const {
      lanes_of(m2, [&](int64_t c, int l) { store_n<T>(u + c, add(load_n(u + c, l), c, l), l); });
    }
  };
  STFLOW_INLINE Spots spots(int64_t row) const {
    const int64_t e = row / heads, h = row % heads, i = e / k, j = neighbours[e];
    return {query + (i * heads + h) * m2, key + (j * heads + h) * m2, gene + i * m2, gene + j * m2};
  }
  void transpose(T* wt) const {
    for (int64_t c = 0; c < m2; c++)
      for (int64_t j = 0; j < width; j++) wt[j * m2 + c] = we[c * width + j];
  }
};

// The scores of R rows from `first` on, less what is the same in all: the normalised gate times `weight`, summed. u holds We e;
// mask (R, m) or null. V > 0 where m is 16 V.
template <int V, int R, class T> STFLOW_INLINE void score(const Problem<T>& s, int64_t first, T* u, const T* mask, const T* weight, T* y) {
  if constexpr (V > 0) {
    GateRows<V, R, false, T> gate;
    typename Problem<T>::Spots spots[R];
    for (int r = 0; r < R; r++) spots[r] = s.spots(first + r);
    gate.forward([&](int r, int64_t c) STFLOW_INLINE_LAMBDA { return spots[r].add(load(u + r * s.m2 + c), c, kLanes); }, mask, T(kEps));
    for (int r = 0; r < R; r++) {
      Vec<T> dot{};
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) dot = fma<T>(gate.centred[r][v], load(weight + v * kLanes), dot);
      y[r] = sum<T>(dot) * gate.scale[r];
    }
  } else {
    for (int r = 0; r < R; r++) {
      Vec<T> dot{};
      T* row = u + r * s.m2;
      s.spots(first + r).add_to(row, s.m2);
      const RowStats<T> st = gate_row<T>(row, mask ? mask + r * s.m : nullptr, s.m, T(kEps), row);
      lanes_of(s.m, [&](int64_t c, int l) { dot = fma<T>(load_n(row + c, l, st.mean) - st.mean, load_n(weight + c, l), dot); });
      y[r] = sum<T>(dot) * st.scale;
    }
  }
}

template <int V, class T> void forward(const EdgeScore& a, T* y) {
  const Problem<T> s(a);
  alignas(64) T wt[kScoreWeight];
  s.transpose(wt);
  T base = s.b2[0];
  for (int64_t c = 0; c < s.m; c++) base += s.w2[c] * s.nb[c];
  alignas(64) T weight[kScoreWidth / 2];
  for (int64_t c = 0; c < s.m; c++) weight[c] = s.w2[c] * s.nw[c];
  parallel_for((s.rows + kChunk - 1) / kChunk, 4, [&](int64_t begin, int64_t end) {
    alignas(64) T tile[kChunk * kScoreWidth];
    alignas(64) T mask[kChunk * kScoreWidth / 2];
    for (int64_t chunk = begin; chunk < end; chunk++) {
      const int64_t first = chunk * kChunk, count = first + kChunk < s.rows ? kChunk : s.rows - first;
      s.edges(first, count, wt, tile);
      if (a.dropout.active()) dropout_mask(a.dropout, first * s.m, count * s.m, mask);
      in_groups(count, [&](int64_t r, auto group) {
        score<V, group()>(s, first + r, tile + r * s.m2, a.dropout.active() ? mask + r * s.m : nullptr, weight, y + first + r);
      });
      for (int64_t r = 0; r < count; r++) y[first + r] += base;
    }
  });
}

// R rows back: du of the hidden layer (R, 2m); S += dy n (n = normalised h). `weight` as in forward, weight_mean its mean.
template <int V, int R, class T>
STFLOW_INLINE void score_backward(const Problem<T>& s, int64_t first, T* u, const T* mask, const T* weight, T weight_mean, const T* dy,
                                  T* S, T* du) {
  if constexpr (V > 0) {
    GateRows<V, R, true, T> gate;
    typename Problem<T>::Spots spots[R];
    for (int r = 0; r < R; r++) spots[r] = s.spots(first + r);
    gate.forward([&](int r, int64_t c) STFLOW_INLINE_LAMBDA { return spots[r].add(load(u + r * s.m2 + c), c, kLanes); }, mask, T(kEps));
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      Vec<T> total = load(S + v * kLanes);
      for (int r = 0; r < R; r++) total = fma<T>(splat(dy[r] * gate.scale[r]), gate.centred[r][v], total);
      store(S + v * kLanes, total);
    }
    gate.backward([&](int r, int v) STFLOW_INLINE_LAMBDA { return dy[r] * load(weight + v * kLanes); },
                  [&](int r) STFLOW_INLINE_LAMBDA { return dy[r] * weight_mean; }, mask,
                  [&](int r, int64_t c, Vec<T> d) STFLOW_INLINE_LAMBDA { store(du + r * s.m2 + c, d); });
  } else {
    alignas(64) T h[kScoreWidth / 2];
    alignas(64) T g[kScoreWidth / 2];
    for (int r = 0; r < R; r++) {
      T* row = u + r * s.m2;
      const T* keep = mask ? mask + r * s.m : nullptr;
      s.spots(first + r).add_to(row, s.m2);
      const RowStats<T> st = gate_row<T>(row, keep, s.m, T(kEps), h);
      lanes_of(s.m, [&](int64_t c, int l) {
        const Vec<T> n = (load_n(h + c, l) - st.mean) * st.scale;
        store_n<T>(S + c, fma<T>(splat(dy[r]), n, load_n(S + c, l)), l);
        store_n<T>(g + c, dy[r] * load_n(weight + c, l), l);
      });
      normalise_row_backward<T>(h, st, s.m, g);
      gate_row_backward<T>(row, keep, g, s.m, du + r * s.m2);
    }
  }
}

template <class T> STFLOW_INLINE void add_row(const T* x, int64_t n, T* y) {
  lanes_of(n, [&](int64_t c, int l) { store_n<T>(y + c, load_n(y + c, l) + load_n(x + c, l), l); });
}

// du of every row into `du`; de; what a spot's own edges give query and gene; and the piece's partial sums: dWe, S = sum dy n
// (n = normalised h), s = sum dy.
template <int V, class T>
void backward_rows(const EdgeScore& a, const Problem<T>& s, const T* dy, const EdgeScoreGrads& d, T* du, T* partial) {
  alignas(64) T wt[kScoreWeight];
  s.transpose(wt);
  alignas(64) T weight[kScoreWidth / 2];
  T weight_mean = 0;
  for (int64_t c = 0; c < s.m; c++) weight_mean += weight[c] = s.w2[c] * s.nw[c];
  weight_mean /= T(s.m);
  const int64_t pieces = a.pieces(), per_spot = s.k * s.heads;
  T *de = d.edge.as<T>(), *dquery = d.query.as<T>(), *dgene = d.gene.as<T>();
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    alignas(64) T tile[kChunk * kScoreWidth];
    alignas(64) T mask[kChunk * kScoreWidth / 2];
    T *dwe = partial + piece * a.partial(), *S = dwe + s.m2 * s.width, *total = S + s.m, *own = total + 16;
    std::memset(dwe, 0, size_t(a.partial()) * sizeof(T));
    const int64_t stop = (piece + 1) * a.graph->n / pieces * per_spot;
    for (int64_t first = piece * a.graph->n / pieces * per_spot; first < stop; first += kChunk) {
      const int64_t count = first + kChunk < stop ? kChunk : stop - first;
      s.edges(first, count, wt, tile);
      if (a.dropout.active()) dropout_mask(a.dropout, first * s.m, count * s.m, mask);
      T* rows = du + first * s.m2;
      in_groups(count, [&](int64_t r, auto group) {
        score_backward<V, group()>(s, first + r, tile + r * s.m2, a.dropout.active() ? mask + r * s.m : nullptr, weight, weight_mean,
                                   dy + first + r, S, rows + r * s.m2);
      });
      for (int64_t r = 0; r < count; r++) {
        *total += dy[first + r];
        add_row(rows + r * s.m2, s.m2, own + (first + r) % s.heads * s.m2);
        if ((first + r + 1) % per_spot) continue;
        const int64_t i = (first + r) / per_spot;
        if (dquery) add_row(own, s.heads * s.m2, dquery + i * s.heads * s.m2);
        for (int64_t h = 0; h < s.heads && dgene; h++)
          lanes_of(s.m2, [&](int64_t c, int l) {
            store_n<T>(dgene + i * s.m2 + c, load_n(dgene + i * s.m2 + c, l) - load_n(own + h * s.m2 + c, l), l);
          });
        std::memset(own, 0, size_t(s.heads * s.m2) * sizeof(T));
      }
      const T* e = s.edge + first * s.width;
      if (de) small_gemm<T>(count, s.width, s.m2, rows, s.m2, 1, s.we, s.width, de + first * s.width, s.width, true);
      small_gemm<T>(s.m2, s.width, count, rows, 1, s.m2, e, s.width, dwe, s.width, true);
    }
  });
}

// What the edges that point to a spot give its key and gene, in fixed order.
template <class T> void backward_spots(const EdgeScore& a, const Problem<T>& s, const T* du, const EdgeScoreGrads& d) {
  const Graph& graph = *a.graph;
  const int32_t *start = graph.reverse_start.template as<int32_t>(), *edges = graph.reverse.template as<int32_t>();
  T *dkey = d.key.as<T>(), *dgene = d.gene.as<T>();
  parallel_for(graph.n, 1 + 4096 / (s.k * s.heads * s.m2 + 1), [&](int64_t begin, int64_t end) {
    alignas(64) T other[kScoreWidth];
    for (int64_t i = begin; i < end; i++)
      for (int64_t h = 0; h < s.heads; h++) {
        std::memset(other, 0, size_t(s.m2) * sizeof(T));
        for (int32_t r = start[i]; r < start[i + 1]; r++) add_row(du + (int64_t(edges[r]) * s.heads + h) * s.m2, s.m2, other);
        if (dkey) add_row(other, s.m2, dkey + (i * s.heads + h) * s.m2);
        if (dgene) add_row(other, s.m2, dgene + i * s.m2);
      }
  });
}

template <int V, class T> void backward(const EdgeScore& a, const T* dy, const EdgeScoreGrads& d, T* scratch) {
  const Problem<T> s(a);
  T *du = scratch, *partial = scratch + s.rows * s.m2;
  backward_rows<V>(a, s, dy, d, du, partial);
  backward_spots(a, s, du, d);
  for (int64_t piece = 0; piece < a.pieces(); piece++) {
    const T *dwe = partial + piece * a.partial(), *S = dwe + s.m2 * s.width, total = S[s.m];
    if (T* p = d.edge_weight.as<T>())
      for (int64_t c = 0; c < s.m2 * s.width; c++) p[c] += dwe[c];
    for (int64_t c = 0; c < s.m; c++) {
      if (T* p = d.norm_weight.as<T>()) p[c] += s.w2[c] * S[c];
      if (T* p = d.norm_bias.as<T>()) p[c] += s.w2[c] * total;
      if (T* p = d.fc2_weight.as<T>()) p[c] += s.nw[c] * S[c] + s.nb[c] * total;
    }
    if (T* p = d.fc2_bias.as<T>()) p[0] += total;
  }
}

}  // namespace

template <> void edge_score_forward(ThisIsa, const EdgeScore& a, Tensor y) {
  by_type(y.type, [&](auto zero) { by_gate_width(a.half(), [&](auto v) { forward<v()>(a, y.as<decltype(zero)>()); }); });
}

template <> void edge_score_backward(ThisIsa, const EdgeScore& a, Tensor dy, const EdgeScoreGrads& d, void* scratch) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    by_gate_width(a.half(), [&](auto v) { backward<v()>(a, dy.as<T>(), d, static_cast<T*>(scratch)); });
  });
}

}  // namespace stflow
