#include "ops/neighbor_mix.h"

#include "ops/cpu/dropout_mask.h"
#include "ops/cpu/math.h"

namespace stflow {
namespace {

constexpr int64_t kMost = kNeighborMixMost;

template <class T> struct Problem {
  int64_t n, k, heads, values, edges;  // widths of one head
  const T *score, *value, *edge;
  const int32_t *idx, *reverse_start, *reverse;

  explicit Problem(const NeighborMix& a)
      : n(a.graph->n),
        k(a.graph->k),
        heads(a.heads()),
        values(a.value.cols() / heads),
        edges(a.edge.cols() / heads),
        score(a.score.as<T>()),
        value(a.value.as<T>()),
        edge(a.edge.as<T>()),
        idx(a.graph->idx.template as<int32_t>()),
        reverse_start(a.graph->reverse_start.template as<int32_t>()),
        reverse(a.graph->reverse.template as<int32_t>()) {}
  int64_t grain() const { return 1 + 16384 / (k * heads * (values + edges) + 1); }
};

template <class T> STFLOW_INLINE void add_scaled(const T* x, T a, int64_t n, T* y) {
  lanes_of(n, [&](int64_t i, int l) { store_n<T>(y + i, fma<T>(splat(a), load_n(x + i, l), load_n(y + i, l)), l); });
}
template <class T> STFLOW_INLINE T dot(const T* x, const T* y, int64_t n) {
  Vec<T> s{};
  lanes_of(n, [&](int64_t i, int l) { s = fma<T>(load_n(x + i, l), load_n(y + i, l), s); });
  return sum<T>(s);
}

// Softmax over the k neighbours of spot i for each head: a (k, H).
template <class T> void softmax_of_spot(const Problem<T>& s, int64_t i, T* a) {
  const T* x = s.score + i * s.k * s.heads;
  for (int64_t h = 0; h < s.heads; h++) {
    T top = x[h];
    for (int64_t j = 1; j < s.k; j++) top = x[j * s.heads + h] > top ? x[j * s.heads + h] : top;
    for (int64_t j = 0; j < s.k; j++) a[j * s.heads + h] = x[j * s.heads + h] - top;
  }
  lanes_of(s.k * s.heads, [&](int64_t j, int l) { store_n<T>(a + j, exp(load_n(a + j, l)), l); });
  for (int64_t h = 0; h < s.heads; h++) {
    T total = 0;
    for (int64_t j = 0; j < s.k; j++) total += a[j * s.heads + h];
    for (int64_t j = 0; j < s.k; j++) a[j * s.heads + h] /= total;
  }
}

template <class T> void forward(const NeighborMix& p, T* weights, T* kept, T* y) {
  const Problem<T> s(p);
  const int64_t row = s.heads * (s.values + s.edges), slots = s.k * s.heads;
  parallel_for(s.n, s.grain(), [&](int64_t begin, int64_t end) {
    T a[kMost], mask[kMost];
    for (int64_t i = begin; i < end; i++) {
      T *out = y + i * row, *out_edge = out + s.heads * s.values;
      std::memset(out, 0, size_t(row) * sizeof(T));
      if (s.k == 0) continue;
      softmax_of_spot(s, i, a);
      if (weights) std::memcpy(weights + i * slots, a, size_t(slots) * sizeof(T));
      if (p.dropout.active()) {
        dropout_mask(p.dropout, i * slots, slots, mask);
        for (int64_t j = 0; j < slots; j++) a[j] *= mask[j];
      }
      if (kept) std::memcpy(kept + i * slots, a, size_t(slots) * sizeof(T));
      for (int64_t j = 0; j < s.k; j++) {
        const T* v = s.value + s.idx[i * s.k + j] * s.heads * s.values;
        const T* e = s.edge + (i * s.k + j) * s.heads * s.edges;
        for (int64_t h = 0; h < s.heads; h++) {
          add_scaled(v + h * s.values, a[j * s.heads + h], s.values, out + h * s.values);
          add_scaled(e + h * s.edges, a[j * s.heads + h], s.edges, out_edge + h * s.edges);
        }
      }
    }
  });
}

template <class T> void backward(const NeighborMix& p, const T* weights, const T* kept, const T* dy, T* dscore, T* dvalue, T* dedge) {
  const Problem<T> s(p);
  const int64_t row = s.heads * (s.values + s.edges), slots = s.k * s.heads;
  parallel_for(s.n, s.grain(), [&](int64_t begin, int64_t end) {
    T da[kMost], mask[kMost];
    for (int64_t i = begin; i < end; i++) {
      const T *d = dy + i * row, *d_edge = d + s.heads * s.values, *a = weights + i * slots;
      if (p.dropout.active()) dropout_mask(p.dropout, i * slots, slots, mask);
      else
        for (int64_t j = 0; j < slots; j++) mask[j] = 1;
      for (int64_t j = 0; j < s.k; j++) {
        const T* v = s.value + s.idx[i * s.k + j] * s.heads * s.values;
        const T* e = s.edge + (i * s.k + j) * s.heads * s.edges;
        for (int64_t h = 0; h < s.heads; h++) {
          const int64_t at = j * s.heads + h;
          const T g = dot(v + h * s.values, d + h * s.values, s.values) + dot(e + h * s.edges, d_edge + h * s.edges, s.edges);
          da[at] = g * mask[at];
          if (dedge) add_scaled(d_edge + h * s.edges, kept[i * slots + at], s.edges, dedge + ((i * s.k + j) * s.heads + h) * s.edges);
        }
      }
      if (!dscore) continue;
      // In float64 and for weights that sum to 1 exactly: a shift of all scores has no influence, and what rounding leaves of
      // one would be the whole gradient of the score MLP's last bias.
      for (int64_t h = 0; h < s.heads; h++) {
        double total = 0, sum = 0;
        for (int64_t j = 0; j < s.k; j++) {
          total += double(a[j * s.heads + h]) * double(da[j * s.heads + h]);
          sum += double(a[j * s.heads + h]);
        }
        for (int64_t j = 0; j < s.k; j++)
          dscore[i * slots + j * s.heads + h] += T(double(a[j * s.heads + h]) * (double(da[j * s.heads + h]) - total / sum));
      }
    }
  });
  if (!dvalue) return;
  parallel_for(s.n, s.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      for (int32_t r = s.reverse_start[i]; r < s.reverse_start[i + 1]; r++) {
        const int64_t e = s.reverse[r];
        for (int64_t h = 0; h < s.heads; h++)
          add_scaled(dy + e / s.k * row + h * s.values, kept[e * s.heads + h], s.values, dvalue + (i * s.heads + h) * s.values);
      }
  });
}

}  // namespace

template <> void neighbor_mix_forward(ThisIsa, const NeighborMix& a, Tensor weights, Tensor kept, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    forward(a, weights.as<T>(), kept.as<T>(), y.as<T>());
  });
}

template <>
void neighbor_mix_backward(ThisIsa, const NeighborMix& a, Tensor weights, Tensor kept, Tensor dy, Tensor dscore, Tensor dvalue,
                           Tensor dedge) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    backward(a, weights.as<T>(), kept.as<T>(), dy.as<T>(), dscore.as<T>(), dvalue.as<T>(), dedge.as<T>());
  });
}

}  // namespace stflow
