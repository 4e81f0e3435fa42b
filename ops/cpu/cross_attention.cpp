#include "ops/cross_attention.h"

#include "ops/cpu/softmax_row.h"

namespace stflow {
namespace {

/// One (image, head, query): its query, the keys and values it looks at, its row of scores.
template <class T> struct Row {
  const T *q, *k, *v;
  int64_t tokens, n, stride, out;  // `out`: index of its result
  T scale;

  Row(const Tensor& queries, const Tensor& kv, int heads, int64_t image, int64_t head, int64_t query)
      : tokens(kv.shape[1]), n(queries.shape[1] / heads), stride(kv.shape[2]), scale(T(1 / std::sqrt(double(n)))) {
    const int64_t d = queries.shape[1];
    q = queries.as<T>() + query * d + head * n;
    k = kv.as<T>() + image * tokens * stride + head * n;
    v = k + d;
    out = (image * queries.shape[0] + query) * d + head * n;
  }
  void softmax(T* p) const {
    for (int64_t t = 0; t < tokens; t++) p[t] = dot(q, k + t * stride, n);
    const T total = exponentials(p, tokens, scale, largest(p, tokens) * scale);
    multiply(p, tokens, T(1) / total);
  }
};

}  // namespace

template <> void cross_attention_forward(ThisIsa, Tensor q, Tensor kv, int heads, Tensor out, void* scratch) {
  by_type(q.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t queries = q.shape[0], tokens = kv.shape[1];
    parallel_for(kv.shape[0] * heads * queries, row_grain(2 * tokens * q.shape[1] / heads), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const Row<T> row(q, kv, heads, i / (heads * queries), i / queries % heads, i % queries);
        T *p = static_cast<T*>(scratch) + i * tokens, *to = out.as<T>() + row.out;
        row.softmax(p);
        std::memset(to, 0, size_t(row.n) * sizeof(T));
        for (int64_t t = 0; t < tokens; t++) add_scaled(row.v + t * row.stride, p[t], to, row.n);
      }
    });
  });
}

// With p = softmax(scale q k^T), g = v dout and D = dout * out:  ds = p (g - D) scale,  dv += p dout,  dk += ds q,  dq += ds k.
// A thread takes all queries of an (image, head), so that nobody else adds to its keys; dq is summed over the images at the end.
template <>
void cross_attention_backward(ThisIsa, Tensor q, Tensor kv, int heads, Tensor out, Tensor dout, Tensor dq, Tensor dkv, void* scratch) {
  by_type(q.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t images = kv.shape[0], queries = q.shape[0], tokens = kv.shape[1], d = q.shape[1];
    auto* partial = static_cast<T*>(scratch) + images * heads * queries * tokens;  // dq of each image
    parallel_for(images * heads, row_grain(4 * queries * tokens * d / heads), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++)
        for (int64_t query = 0; query < queries; query++) {
          const Row<T> row(q, kv, heads, i / heads, i % heads, query);
          T *p = static_cast<T*>(scratch) + (i * queries + query) * tokens, *to = partial + row.out;
          const T* g = dout.as<T>() + row.out;
          const T own = dot(out.as<T>() + row.out, g, row.n);
          row.softmax(p);
          std::memset(to, 0, size_t(row.n) * sizeof(T));
          for (int64_t t = 0; t < tokens; t++) {
            const int64_t at = t * row.stride;
            const T ds = p[t] * (dot(row.v + at, g, row.n) - own) * row.scale;
            add_scaled(row.k + at, ds, to, row.n);
            if (!dkv.data) continue;
            T* dk = dkv.as<T>() + (row.k - kv.as<T>()) + at;
            add_scaled(row.q, ds, dk, row.n);
            add_scaled(g, p[t], dk + d, row.n);
          }
        }
    });
    if (!dq.data) return;
    for (int64_t image = 0; image < images; image++)
      for (int64_t i = 0; i < queries * d; i++) dq.as<T>()[i] += partial[image * queries * d + i];
  });
}

}  // namespace stflow
