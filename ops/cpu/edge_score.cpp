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
    small_gemm<T>(count, m2, width, edge + first * width, width, 1, wt, m2, tile, m2, false);
  }
  // What a row adds to its We e: Wq q_i + Wk k_j + Wg (g_j - g_i).
  struct Spots {
    const T *q, *p, *gi, *gj;
    STFLOW_INLINE Vec<T> add(Vec<T> u, int64_t c, int l) const {
      return u + load_n(q + c, l) + load_n(p + c, l) + (load_n(gj + c, l) - load_n(gi + c, l));
    }
  };
  STFLOW_INLINE Spots spots(int64_t row) const {
    const int64_t e = row / heads, h = row % heads, i = e / k, j = neighbours[e];
    return {query + (i * heads + h) * m2, key + (j * heads + h) * m2, gene + i * m2, gene + j * m2};
  }
  // u of rows [first, first + count) into `tile`.
  STFLOW_INLINE void hidden(int64_t first, int64_t count, const T* wt, T* tile) const {
    edges(first, count, wt, tile);
    for (int64_t r = 0; r < count; r++) {
      const Spots s = spots(first + r);
      T* u = tile + r * m2;
      lanes_of(m2, [&](int64_t c, int l) { store_n<T>(u + c, s.add(load_n(u + c, l), c, l), l); });
    }
  }
  void transpose(T* wt) const {
    for (int64_t c = 0; c < m2; c++)
      for (int64_t j = 0; j < width; j++) wt[j * m2 + c] = we[c * width + j];
  }
};

// The normalised gate of one row, times `weight`, summed. From We e to the score in registers where m is 16 V (V > 0); the same
// sums in the same order through memory, in u, for any other m.
template <int V, class T>
STFLOW_INLINE T score(const Problem<T>& s, const typename Problem<T>::Spots& spots, T* u, const T* mask, const T* weight) {
  Vec<T> dot{};
  if constexpr (V > 0) {
    Vec<T> h[V], sum_h{}, sum_d{};
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      const int64_t c = v * kLanes;
      h[v] = silu<T>(spots.add(load(u + c), c, kLanes)) * spots.add(load(u + V * kLanes + c), V * kLanes + c, kLanes);
      if (mask) h[v] *= load(mask + c);
      sum_h += h[v];
    }
    const T mean = sum<T>(sum_h) / T(V * kLanes);
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      const Vec<T> d = h[v] - mean;
      sum_d = fma<T>(d, d, sum_d);
      dot = fma<T>(d, load(weight + v * kLanes), dot);
    }
    return sum<T>(dot) * (T(1) / std::sqrt(sum<T>(sum_d) / T(V * kLanes) + T(kEps)));
  } else {
    lanes_of(s.m2, [&](int64_t c, int l) { store_n<T>(u + c, spots.add(load_n(u + c, l), c, l), l); });
    const RowStats<T> st = gate_row<T>(u, mask, s.m, T(kEps), u);
    lanes_of(s.m, [&](int64_t c, int l) { dot = fma<T>(load_n(u + c, l, st.mean) - st.mean, load_n(weight + c, l), dot); });
    return sum<T>(dot) * st.scale;
  }
}

template <int V, class T> void forward_rows(const EdgeScore& a, T* y) {
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
      for (int64_t r = 0; r < count; r++) {
        const T* keep = a.dropout.active() ? mask + r * s.m : nullptr;
        y[first + r] = score<V>(s, s.spots(first + r), tile + r * s.m2, keep, weight) + base;
      }
    }
  });
}

template <class T> void forward(const EdgeScore& a, T* y) {
  switch (a.half()) {
    case kLanes: return forward_rows<1>(a, y);
    case 2 * kLanes: return forward_rows<2>(a, y);
    case 4 * kLanes: return forward_rows<4>(a, y);
    default: return forward_rows<0>(a, y);
  }
}

// du of every row into `du`; de; and the piece's partial sums: dWe, S = sum dy n, s = sum dy (n = normalised h).
template <class T> void backward_rows(const EdgeScore& a, const Problem<T>& s, const T* dy, T* de, T* du, T* partial) {
  alignas(64) T wt[kScoreWeight];
  s.transpose(wt);
  const int64_t pieces = a.pieces(), chunks = (s.rows + kChunk - 1) / kChunk, share = (chunks + pieces - 1) / pieces;
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    alignas(64) T tile[kChunk * kScoreWidth];
    alignas(64) T mask[kChunk * kScoreWidth / 2];
    alignas(64) T h[kScoreWidth / 2];
    alignas(64) T g[kScoreWidth / 2];
    T *dwe = partial + piece * a.partial(), *S = dwe + s.m2 * s.width, *total = S + s.m;
    std::memset(dwe, 0, size_t(a.partial()) * sizeof(T));
    for (int64_t chunk = piece * share; chunk < (piece + 1) * share && chunk < chunks; chunk++) {
      const int64_t first = chunk * kChunk, count = first + kChunk < s.rows ? kChunk : s.rows - first;
      s.hidden(first, count, wt, tile);
      if (a.dropout.active()) dropout_mask(a.dropout, first * s.m, count * s.m, mask);
      T* d = du + first * s.m2;
      for (int64_t r = 0; r < count; r++) {
        const T* u = tile + r * s.m2;
        const T* keep = a.dropout.active() ? mask + r * s.m : nullptr;
        const T out = dy[first + r];
        const RowStats<T> st = gate_row<T>(u, keep, s.m, T(kEps), h);
        lanes_of(s.m, [&](int64_t c, int l) {
          const Vec<T> n = (load_n(h + c, l) - st.mean) * st.scale;
          store_n<T>(S + c, fma<T>(splat(out), n, load_n(S + c, l)), l);
          store_n<T>(g + c, out * (load_n(s.w2 + c, l) * load_n(s.nw + c, l)), l);
        });
        *total += out;
        normalise_row_backward<T>(h, st, s.m, g);
        gate_row_backward<T>(u, keep, g, s.m, d + r * s.m2);
      }
      const T* e = s.edge + first * s.width;
      if (de) small_gemm<T>(count, s.width, s.m2, d, s.m2, 1, s.we, s.width, de + first * s.width, s.width, true);
      small_gemm<T>(s.m2, s.width, count, d, 1, s.m2, e, s.width, dwe, s.width, true);
    }
  });
}

// Per spot, over its own edges and over the edges that point to it, both in fixed order.
template <class T> void backward_spots(const EdgeScore& a, const Problem<T>& s, const T* du, const EdgeScoreGrads& d) {
  const Graph& graph = *a.graph;
  const int32_t *start = graph.reverse_start.template as<int32_t>(), *edges = graph.reverse.template as<int32_t>();
  parallel_for(graph.n, 1 + 4096 / (s.k * s.heads * s.m2 + 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      for (int64_t h = 0; h < s.heads; h++)
        lanes_of(s.m2, [&](int64_t c, int l) {
          Vec<T> own{}, other{};
          for (int64_t j = 0; j < s.k; j++) own += load_n(du + ((i * s.k + j) * s.heads + h) * s.m2 + c, l);
          for (int32_t r = start[i]; r < start[i + 1]; r++) other += load_n(du + (int64_t(edges[r]) * s.heads + h) * s.m2 + c, l);
          const int64_t at = (i * s.heads + h) * s.m2 + c;
          if (T* p = d.query.as<T>()) store_n<T>(p + at, load_n(p + at, l) + own, l);
          if (T* p = d.key.as<T>()) store_n<T>(p + at, load_n(p + at, l) + other, l);
          if (T* p = d.gene.as<T>()) store_n<T>(p + i * s.m2 + c, load_n(p + i * s.m2 + c, l) + (other - own), l);
        });
  });
}

template <class T> void backward(const EdgeScore& a, const T* dy, const EdgeScoreGrads& d, T* scratch) {
  const Problem<T> s(a);
  T *du = scratch, *partial = scratch + s.rows * s.m2;
  backward_rows(a, s, dy, d.edge.as<T>(), du, partial);
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
  by_type(y.type, [&](auto zero) { forward(a, y.as<decltype(zero)>()); });
}

template <> void edge_score_backward(ThisIsa, const EdgeScore& a, Tensor dy, const EdgeScoreGrads& d, void* scratch) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    backward(a, dy.as<T>(), d, static_cast<T*>(scratch));
  });
}

}  // namespace stflow
