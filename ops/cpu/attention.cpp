#include "ops/attention.h"

#include "ops/cpu/gemm_tile.h"
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

/// The lines of some tokens of the head that comes next, to be asked for one after another in the steps of a tile.
template <class T> struct Ahead {
  const T* line;  // of q
  int64_t part, n, stride, at = 0, row = 0, rows;

  Ahead(const Head<T>& h, int64_t token, int64_t rows_)
      : line(h.q + token * h.stride), part(h.k - h.q), n(h.n), stride(h.stride), rows(rows_) {}
  STFLOW_INLINE void step() {
    if (row == rows) return;
    for (int i = 0; i < 3; i++) __builtin_prefetch(line + i * part + at, 0, 2);
    at += 64 / int64_t(sizeof(T));
    if (at >= n) at = 0, row++, line += stride;
  }
};

/// Rows of the left operand of a tile lie in blocks of kDepth columns: element (r, i) at [i / kDepth * kBlock + r * kStrip + i % kDepth].
constexpr int64_t kBlock = kRows * kStrip;
static_assert(kDepth == kAttentionDepth && kBlock <= kAttentionBlock);
template <class T> STFLOW_INLINE T* column_of(T* strip, int64_t i) { return strip + i / kDepth * kBlock + i % kDepth; }
template <class F> STFLOW_INLINE void blocks_of(int64_t columns, F f) {
  for (int64_t i = 0; i < columns; i += kDepth) f(i, least(kDepth, columns - i));
}

/// R rows times a panel of k rows, its first `columns`, to rows ld apart.
template <int R, class T, class Read>
STFLOW_INLINE void multiply_panel(const T* strip, Read& read, int64_t k, T* to, int64_t ld, int columns) {
  const auto go = [&](auto n) STFLOW_INLINE_LAMBDA {
    blocks_of(k, [&](int64_t p, int64_t depth) STFLOW_INLINE_LAMBDA {
      tile<T, R, n, true>(
          {column_of(strip, p), kStrip, 1}, depth, [&](auto& b) STFLOW_INLINE_LAMBDA { read(b); },
          [&](auto& c) STFLOW_INLINE_LAMBDA {
            each<R * n>([&](auto i) STFLOW_INLINE_LAMBDA {
              constexpr int at = i % n * kWidth<T>;
              finish<T>(c[i], to + i / n * ld + at, nullptr, p > 0, columns - at);
            });
          });
    });
  };
  if (columns > kWidth<T>) go(std::integral_constant<int, 2>{});
  else go(std::integral_constant<int, 1>{});
}

/// What a head's queries meet: keys and values in panels, strips for some rows of the queries and their scores.
template <class T> struct Room {
  T *keys, *values, *queries, *scores;

  Room(T* scratch, const Head<T>& h)
      : keys(scratch),
        values(keys + packed_elements(h.tokens, h.n)),
        queries(values + packed_elements(h.n, h.tokens)),
        scores(queries + (h.n + kDepth - 1) / kDepth * kBlock) {}
};

/// R queries from the q-th on: all their scores, a softmax of each row, and the sums of the values that these weigh.
template <class T, int R = kRows>
void forward_strip(const Head<T>& h, const Head<T>& next, int64_t q, int rows, T* out, int64_t out_stride, T* sums, const Room<T>& room) {
  if constexpr (R > 0) {
    if (rows < R) return forward_strip<T, R - 1>(h, next, q, rows, out, out_stride, sums, room);
    for (int64_t r = 0; r < R; r++)
      blocks_of(h.n, [&](int64_t i, int64_t many) {
        std::memcpy(column_of(room.queries, i) + r * kStrip, h.q + (q + r) * h.stride + i, size_t(many) * sizeof(T));
      });
    Rows<T> keys{room.keys};
    for (int64_t key = 0; key < h.tokens; key += kPanel<T>)
      multiply_panel<R>(room.queries, keys, h.n, column_of(room.scores, key), kStrip, h.tokens - key > kWidth<T> ? kPanel<T> : kWidth<T>);
    T total[R];
    for (int64_t r = 0; r < R; r++) {
      T top = std::numeric_limits<T>::lowest(), sum = 0;
      blocks_of(h.tokens, [&](int64_t i, int64_t many) {
        const T here = largest(column_of(room.scores, i) + r * kStrip, many) * h.scale;
        top = here > top ? here : top;
      });
      blocks_of(h.tokens,
                [&](int64_t i, int64_t many) { sum += exponentials(column_of(room.scores, i) + r * kStrip, many, h.scale, top); });
      total[r] = sum;
      if (sums) sums[q + r] = top + std::log(sum);
    }
    T* o = out + q * out_stride;
    Ahead<T> ahead(next, q, R);
    for (int64_t i = 0; i < h.n; i += kPanel<T>) {
      Ahead<T> own = ahead;  // in registers
      Rows<T> values{room.values + i * h.tokens};
      const auto read = [&](auto& b) STFLOW_INLINE_LAMBDA {
        own.step();
        values(b);
      };
      multiply_panel<R>(room.scores, read, h.tokens, o + i, out_stride, int(least(kPanel<T>, h.n - i)));
      ahead = own;
    }
    for (int64_t r = 0; r < R; r++) multiply(o + r * out_stride, h.n, T(1) / total[r]);
  }
}

template <class T>
void forward_head(const Head<T>& h, const Head<T>& next, int64_t queries, T* out, int64_t out_stride, T* sums, T* scratch) {
  const Room<T> room(scratch, h);
  pack_weights(kIsa, h.k, h.stride, false, h.tokens, h.n, room.keys);
  pack_weights(kIsa, h.v, h.stride, true, h.n, h.tokens, room.values);
  const int64_t strips = (queries + kRows - 1) / kRows;
  for (int64_t s = 0; s < strips; s++) {
    const int64_t q = s * queries / strips, end = (s + 1) * queries / strips;
    forward_strip<T>(h, next, q, int(end - q), out, out_stride, sums, room);
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
template <class T>
void backward_head(const Head<T>& h, int64_t queries, const T* out, const T* dout, int64_t out_stride, const T* sums, T* dq, T* scratch) {
  const int64_t d = h.k - h.q, query_tiles = (queries + kQueryTile - 1) / kQueryTile;
  const int64_t columns = packed_elements(kQueryTile, h.n), in_rows = packed_elements(h.n, kQueryTile), each = 2 * (columns + in_rows);
  T* packed = scratch;  // per query tile: q and dout as columns, then both as rows
  T* keys = packed + query_tiles * each;
  T *p = keys + packed_elements(h.n, kKeyTile), *g = p + kQueryTile * kKeyTile, *turned = g + kQueryTile * kKeyTile;
  T* dots = turned + kQueryTile * kKeyTile;
  for (int64_t t = 0; t < query_tiles; t++) {
    const int64_t q = t * kQueryTile, rows = least(kQueryTile, queries - q);
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
      const int64_t q = t * kQueryTile, rows = least(kQueryTile, queries - q);
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
    const int64_t tokens = qkv.shape[1], queries = out.shape[1], d = out.shape[2], n = d / heads, pairs = qkv.shape[0] * heads;
    const int64_t pieces = attention_pieces(pairs), size = attention_scratch(tokens, n, false);
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      for (int64_t i = piece * pairs / pieces; i < (piece + 1) * pairs / pieces; i++)
        forward_head<T>(head_of<T>(qkv, heads, i), head_of<T>(qkv, heads, i + 1 < pairs ? i + 1 : i), queries,
                        out.as<T>() + i / heads * queries * d + i % heads * n, d, sums.data ? sums.as<T>() + i * queries : nullptr,
                        static_cast<T*>(scratch) + piece * size);
    });
  });
}

template <> void attention_backward(ThisIsa, Tensor qkv, int heads, Tensor out, Tensor sums, Tensor dout, Tensor dqkv, void* scratch) {
  by_type(qkv.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tokens = qkv.shape[1], queries = out.shape[1], d = out.shape[2], n = d / heads, pairs = qkv.shape[0] * heads;
    const int64_t pieces = attention_pieces(pairs), size = attention_scratch(tokens, n, true);
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      for (int64_t i = piece * pairs / pieces; i < (piece + 1) * pairs / pieces; i++) {
        const int64_t at = i / heads * queries * d + i % heads * n;
        backward_head<T>(head_of<T>(qkv, heads, i), queries, out.as<T>() + at, dout.as<T>() + at, d, sums.as<T>() + i * queries,
                         dqkv.as<T>() + (head_of<T>(qkv, heads, i).q - qkv.as<T>()), static_cast<T*>(scratch) + piece * size);
      }
    });
  });
}

}  // namespace stflow
