#include "ops/attention.h"

#include "ops/cpu/softmax_row.h"
#include "ops/gemm.h"

namespace stflow {
namespace {

constexpr ThisIsa kIsa{};

/// One (image, head): where its rows start and how far apart they are.
template <class T> struct Head {
  const T *q, *k, *v;
  int64_t tokens, n, stride;  // n numbers per head, `stride` numbers between tokens
  T scale;
};

template <class T> Head<T> head_of(Tensor qkv, int heads, int64_t pair) {
  const int64_t tokens = qkv.shape[1], d = qkv.shape[2] / 3, n = d / heads;
  const T* q = qkv.as<T>() + pair / heads * tokens * 3 * d + pair % heads * n;
  return {q, q + d, q + 2 * d, tokens, n, 3 * d, T(1 / std::sqrt(double(n)))};
}

STFLOW_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/// The lines of a head's token, for a head that comes next.
template <class T> STFLOW_INLINE void ask(const Head<T>& h, int64_t token) {
  constexpr int64_t kLine = 64 / int64_t(sizeof(T));
  for (const T* part : {h.q, h.k, h.v})
    for (int64_t i = 0; i < h.n; i += kLine) __builtin_prefetch(part + token * h.stride + i, 0, 2);
}

template <class T> void forward_head(const Head<T>& h, const Head<T>& next, T* out, int64_t out_stride, T* sums, T* scratch) {
  const int64_t key_tiles = (h.tokens + kKeyTile - 1) / kKeyTile;
  const int64_t key_size = packed_elements(kKeyTile, h.n), value_size = packed_elements(h.n, kKeyTile);
  T* keys = scratch;
  T* values = keys + key_tiles * key_size;
  T* score = values + key_tiles * value_size;
  T *top = score + kQueryTile * kKeyTile, *total = top + kQueryTile;
  for (int64_t t = 0; t < key_tiles; t++) {
    const int64_t first = t * kKeyTile, many = least(kKeyTile, h.tokens - first);
    pack_weights(kIsa, h.k + first * h.stride, h.stride, false, many, h.n, keys + t * key_size);
    pack_weights(kIsa, h.v + first * h.stride, h.stride, true, h.n, many, values + t * value_size);
  }
  for (int64_t q = 0; q < h.tokens; q += kQueryTile) {
    const int64_t rows = least(kQueryTile, h.tokens - q);
    T* o = out + q * out_stride;
    for (int64_t t = 0; t < key_tiles; t++) {
      const int64_t many = least(kKeyTile, h.tokens - t * kKeyTile);
      gemm_rows(kIsa, h.q + q * h.stride, h.stride, rows, keys + t * key_size, many, h.n, score, kKeyTile, false);
      for (int64_t r = 0; r < rows; r++) {
        if (t == 0) ask(next, q + r);
        T* row = score + r * kKeyTile;
        const T here = largest(row, many) * h.scale;
        if (t == 0) {
          top[r] = here;
          total[r] = exponentials(row, many, h.scale, here);
        } else {
          const T now = here > top[r] ? here : top[r], shrink = std::exp(top[r] - now);
          if (shrink != 1) multiply(o + r * out_stride, h.n, shrink);
          total[r] = total[r] * shrink + exponentials(row, many, h.scale, now);
          top[r] = now;
        }
      }
      gemm_rows(kIsa, score, kKeyTile, rows, values + t * value_size, h.n, many, o, out_stride, t > 0);
    }
    for (int64_t r = 0; r < rows; r++) {
      multiply(o + r * out_stride, h.n, T(1) / total[r]);
      if (sums) sums[q + r] = top[r] + std::log(total[r]);
    }
  }
}

/// b (rows, columns) -> a (columns, rows), leading dimensions kQueryTile and kKeyTile.
template <class T> STFLOW_INLINE void transpose(const T* a, int64_t keys, int64_t queries, T* b) {
  for (int64_t i = 0; i < keys; i++)
    for (int64_t j = 0; j < queries; j++) b[j * kKeyTile + i] = a[i * kQueryTile + j];
}

// Score tiles are made transposed (keys x queries), so that log-sums and row sums lie along the lanes. With
// p = exp(scale s - sum) and g = v dout^T:  ds = p (g - D) scale,  dv += p dout,  dk += ds q,  dq += ds^T k,
// where D = sum(dout * out) per query.
template <class T> void backward_head(const Head<T>& h, const T* out, const T* dout, int64_t out_stride, const T* sums, T* dq, T* scratch) {
  const int64_t d = h.k - h.q, query_tiles = (h.tokens + kQueryTile - 1) / kQueryTile;
  const int64_t columns = packed_elements(kQueryTile, h.n), in_rows = packed_elements(h.n, kQueryTile), each = 2 * (columns + in_rows);
  T* packed = scratch;  // per query tile: q and dout as columns, then both as rows
  T* keys = packed + query_tiles * each;
  T *p = keys + packed_elements(h.n, kKeyTile), *g = p + kQueryTile * kKeyTile, *turned = g + kQueryTile * kKeyTile;
  T* dots = turned + kQueryTile * kKeyTile;
  for (int64_t t = 0; t < query_tiles; t++) {
    const int64_t q = t * kQueryTile, rows = least(kQueryTile, h.tokens - q);
    T* at = packed + t * each;
    pack_weights(kIsa, h.q + q * h.stride, h.stride, false, rows, h.n, at);
    pack_weights(kIsa, dout + q * out_stride, out_stride, false, rows, h.n, at + columns);
    pack_weights(kIsa, h.q + q * h.stride, h.stride, true, h.n, rows, at + 2 * columns);
    pack_weights(kIsa, dout + q * out_stride, out_stride, true, h.n, rows, at + 2 * columns + in_rows);
    for (int64_t r = q; r < q + rows; r++) {
      Vec<T> s{};
      lanes_of(h.n, [&](int64_t i, int l) { s = fma<T>(load_n(out + r * out_stride + i, l), load_n(dout + r * out_stride + i, l), s); });
      dots[r] = sum<T>(s);
    }
  }
  T *dk = dq + d, *dv = dq + 2 * d;
  for (int64_t k = 0; k < h.tokens; k += kKeyTile) {
    const int64_t many = least(kKeyTile, h.tokens - k);
    pack_weights(kIsa, h.k + k * h.stride, h.stride, true, h.n, many, keys);
    for (int64_t t = 0; t < query_tiles; t++) {
      const int64_t q = t * kQueryTile, rows = least(kQueryTile, h.tokens - q);
      const T* at = packed + t * each;
      gemm_rows(kIsa, h.k + k * h.stride, h.stride, many, at, rows, h.n, p, kQueryTile, false);
      gemm_rows(kIsa, h.v + k * h.stride, h.stride, many, at + columns, rows, h.n, g, kQueryTile, false);
      for (int64_t i = 0; i < many; i++)
        lanes_of(rows, [&](int64_t j, int l) {
          T *pi = p + i * kQueryTile + j, *gi = g + i * kQueryTile + j;
          const Vec<T> e = exp(fma<T>(load_n(pi, l), splat(h.scale), -load_n(sums + q + j, l)));
          store_n<T>(pi, e, l);
          store_n<T>(gi, e * (load_n(gi, l) - load_n(dots + q + j, l)) * h.scale, l);
        });
      gemm_rows(kIsa, p, kQueryTile, many, at + 2 * columns + in_rows, h.n, rows, dv + k * h.stride, h.stride, true);
      gemm_rows(kIsa, g, kQueryTile, many, at + 2 * columns, h.n, rows, dk + k * h.stride, h.stride, true);
      transpose(g, many, rows, turned);
      gemm_rows(kIsa, turned, kKeyTile, rows, keys, h.n, many, dq + q * h.stride, h.stride, true);
    }
  }
}

}  // namespace

template <> void attention_forward(ThisIsa, Tensor qkv, int heads, Tensor out, Tensor sums, void* scratch) {
  by_type(qkv.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tokens = qkv.shape[1], d = qkv.shape[2] / 3, n = d / heads, pairs = qkv.shape[0] * heads;
    const int64_t pieces = attention_pieces(pairs), size = attention_scratch(tokens, n, false);
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      for (int64_t i = piece * pairs / pieces; i < (piece + 1) * pairs / pieces; i++)
        forward_head<T>(head_of<T>(qkv, heads, i), head_of<T>(qkv, heads, i + 1 < pairs ? i + 1 : i),
                        out.as<T>() + i / heads * tokens * d + i % heads * n, d, sums.data ? sums.as<T>() + i * tokens : nullptr,
                        static_cast<T*>(scratch) + piece * size);
    });
  });
}

template <> void attention_backward(ThisIsa, Tensor qkv, int heads, Tensor out, Tensor sums, Tensor dout, Tensor dqkv, void* scratch) {
  by_type(qkv.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tokens = qkv.shape[1], d = qkv.shape[2] / 3, n = d / heads, pairs = qkv.shape[0] * heads;
    const int64_t pieces = attention_pieces(pairs), size = attention_scratch(tokens, n, true);
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      for (int64_t i = piece * pairs / pieces; i < (piece + 1) * pairs / pieces; i++) {
        const int64_t at = i / heads * tokens * d + i % heads * n;
        backward_head<T>(head_of<T>(qkv, heads, i), out.as<T>() + at, dout.as<T>() + at, d, sums.as<T>() + i * tokens,
                         dqkv.as<T>() + (head_of<T>(qkv, heads, i).q - qkv.as<T>()), static_cast<T*>(scratch) + piece * size);
      }
    });
  });
}

}  // namespace stflow
