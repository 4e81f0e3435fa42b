// The product of Goto and van de Geijn (ACM TOMS 2008): the right operand lies in panels of two registers of columns, a
// tile of kRows x one panel is kept in registers while k runs, blocks of k keep the panel in the nearest cache.
#include "ops/gemm.h"

#include "ops/cpu/activate.h"
#include "ops/cpu/gemm_tile.h"
#include "ops/cpu/panels.h"
#include "ops/cpu/transpose.h"

namespace stflow {
namespace {

constexpr int64_t kBlock = 81920;  // numbers of a block of panels

/// Calls f(begin, rows) for strips of at most kRows rows of nearly equal height.
template <class F> STFLOW_INLINE void strips(int64_t m, F f) {
  const int64_t count = (m + kRows - 1) / kRows;
  for (int64_t s = 0, begin = 0; s < count; s++) {
    const int64_t rows = m / count + (s < m % count);
    f(begin, int(rows));
    begin += rows;
  }
}

/// Rows of a matrix that will be needed soon, asked for a few at a time so that memory works while the tiles compute.
template <class T> struct Ahead {
  const T* data;
  int64_t ld, rows, columns;

  STFLOW_INLINE void ask(int64_t count) {
    constexpr int64_t kLine = 64 / sizeof(T);
    for (; count > 0 && rows > 0; count--, rows--, data += ld)
      for (int64_t i = 0; i < columns; i += kLine) __builtin_prefetch(data + i);
  }
};

/// C (m, n) = or += A * panels that hold k rows. Calls between() before each tile and done(i, rows, j, columns) for each part
/// of C that is finished. A block of panels stays in the second cache, a strip of A in the first.
template <class T, bool RowMajor, class W, class Between, class Done>
void multiply(Left<T> a, int64_t m, const W* packed, int64_t n, int64_t k, T* c, int64_t ldc, const T* bias, bool add, Between between,
              Done done) {
  alignas(64) T strip[RowMajor ? kRows * kStrip : 1];
  alignas(64) T room[std::is_same_v<T, W> ? 1 : kBlock + kDepth * kPanel<T>];
  Panels<T, W> panels{packed, n, k, room, nullptr, 0, nullptr, 0, 0, 0};
  int64_t p = 0;
  do {
    const int64_t depth = k - p < kDepth ? k - p : kDepth;
    const bool last = p + depth >= k;
    const int64_t block = (kBlock / (depth > 0 ? depth : 1) / kPanel<T> + 1) * kPanel<T>;
    for (int64_t j0 = 0; j0 < n; j0 += block) {
      const int64_t j1 = j0 + block < n ? j0 + block : n;
      const int64_t tiles = (m + kRows - 1) / kRows * panels_of<T>(j1 - j0);
      panels.take(p, depth, j0, j1);
      strips(m, [&](int64_t i, int rows) {
        Left<T> left{a.data + i * a.row + p * a.column, a.row, a.column};
        const int64_t below = m - i - rows < rows ? m - i - rows : rows;
        Ahead<T> next{left.data + rows * a.row, a.row, RowMajor ? below : 0, depth};  // strip of A
        if constexpr (RowMajor) {
          for (int r = 0; r < rows; r++)
            lanes_of(depth, [&](int64_t q, int l) { store_n<T>(strip + r * kStrip + q, load_n(left.data + r * a.row + q, l), l); });
          left = {strip, kStrip, 1};
        }
        const int64_t share = (below * kPanel<T> + j1 - j0 - 1) / (j1 - j0);
        for (int64_t j = j0; j < j1; j += kPanel<T>) {
          const int columns = j1 - j < kPanel<T> ? int(j1 - j) : kPanel<T>;
          next.ask(share);
          panels.ask(tiles);
          if (depth >= 32) Ahead<T>{c + i * ldc + j, ldc, rows, columns}.ask(rows);
          between();
          tile_of<T, RowMajor>(rows, left, panels.block + (j - j0) * panels.apart, depth,
                               {c + i * ldc + j, ldc, columns, add || p > 0, bias && last ? bias + j : nullptr});
        }
        if (last) done(i, rows, j0, j1 - j0);
      });
    }
    p += depth;
  } while (p < k);
}

constexpr auto nothing = [](auto...) {};

template <class T> void activate(T* c, int64_t ldc, T* pre, int64_t m, int64_t n, Activation activation) {
  for (int64_t i = 0; i < m; i++)
    lanes_of(n, [&](int64_t j, int l) {
      const Vec<T> v = load_n(c + i * ldc + j, l);
      if (pre) store_n<T>(pre + i * ldc + j, v, l);
      store_n<T>(c + i * ldc + j, activate<T>(activation, v), l);
    });
}

template <class T> void pack(const T* w, int64_t ldw, bool transposed, int64_t n, int64_t k, T* packed) {
  if (n == 0 || k == 0) return;
  parallel_for((n + kPanel<T> - 1) / kPanel<T>, 1 + 16384 / (k * kPanel<T> + 1), [=](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; panel++) {
      T* to = packed + panel * kPanel<T> * k;
      const int64_t j = panel * kPanel<T>, columns = n - j < kPanel<T> ? n - j : kPanel<T>;
      if (columns < kPanel<T>) std::memset(to, 0, size_t(kPanel<T> * k) * sizeof(T));
      if (transposed) {
        if (columns == kPanel<T>)
          for (int64_t p = 0; p < k; p++) std::memcpy(to + p * kPanel<T>, w + p * ldw + j, kPanel<T> * sizeof(T));
        else
          for (int64_t p = 0; p < k; p++) std::memcpy(to + p * kPanel<T>, w + p * ldw + j, size_t(columns) * sizeof(T));
      } else {
        transpose<T>(w + j * ldw, ldw, columns, k, to, kPanel<T>);
      }
    }
  });
}

template <class T, class W>
void product(const T* a, int64_t lda, int64_t m, const W* packed, int64_t n, int64_t k, T* c, int64_t ldc, const Epilogue<T>& e) {
  // Blocks of rows as large as the share of a thread allows, and where these are few, groups of panels: about 32 pieces.
  const int64_t panels = panels_of<T>(n), strip = kRows * n * k + 1, large = 32, small = 8;
  const int64_t worth = ((1 << 20) + strip - 1) / strip;  // strips that are worth a piece
  const int64_t height = kRows * (n * k > kBlock ? large : worth < small ? small : worth);
  const int64_t row_blocks = (m + height - 1) / height;
  int64_t groups = row_blocks > 0 ? 32 / row_blocks : 1;
  const int64_t most = m * n * k >> 20;
  groups = groups < most ? groups : most;
  const int64_t pairs = (panels + 1) / 2;  // of panels: for a single one a strip of A is hardly worth its copy
  groups = groups < 1 ? 1 : groups < pairs ? groups : pairs;
  parallel_for(row_blocks * groups, 1, [=, &e](int64_t piece, int64_t) {
    const int64_t block = piece / groups, group = piece % groups;
    const int64_t i = block * m / row_blocks, rows = (block + 1) * m / row_blocks - i;
    const int64_t j = group * panels / groups * kPanel<T>, end = (group + 1) * panels / groups * kPanel<T>;
    const int64_t columns = (end < n ? end : n) - j;
    T* to = c + i * ldc + j;
    multiply<T, true>({a + i * lda, lda, 1}, rows, packed + j * k, columns, k, to, ldc, e.bias ? e.bias + j : nullptr, e.accumulate,
                      nothing, [&](int64_t r, int64_t count, int64_t column, int64_t width) {
                        const int64_t at = r * ldc + column;
                        if (e.activation != Activation::none)
                          activate<T>(to + at, ldc, e.pre ? e.pre + i * ldc + j + at : nullptr, count, width, e.activation);
                      });
  });
}

/// Panels of 16-bit numbers, the missing columns of the last one zero.
template <class W> void pack_bits(const W* w, int64_t n, int64_t k, W* packed) {
  constexpr int64_t kColumns = kPanel<float>;
  parallel_for((n + kColumns - 1) / kColumns, 1 + 16384 / (k * kColumns + 1), [=](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; panel++)
      for (int64_t p = 0; p < k; p++)
        for (int64_t i = 0; i < kColumns; i++) {
          const int64_t j = panel * kColumns + i;
          packed[(panel * k + p) * kColumns + i] = j < n ? w[j * k + p] : W{0};
        }
  });
}

constexpr int64_t kTransposedRows = 128, kTransposedColumns = 256;  // of B, packed on the stack at a time

/// Columns of B that a task takes: fewer where that makes eight tasks of half a million multiplications or more.
template <class T> int64_t transposed_columns(int64_t pieces, int64_t rows, int64_t m, int64_t n) {
  int64_t columns = kTransposedColumns;
  while (columns > kPanel<T> && pieces * ((n + columns - 1) / columns) < 8 && rows / pieces * m * columns > 1 << 20) columns /= 2;
  return columns;
}

template <class T>
void transposed_product(const T* a, int64_t lda, const T* b, int64_t ldb, int64_t rows, int64_t m, int64_t n, T* c, int64_t ldc, T* sums,
                        T* scratch) {
  const int64_t pieces = gemm_transposed_pieces(rows, m, n), most = transposed_columns<T>(pieces, rows, m, n),
                blocks = (n + most - 1) / most;
  parallel_for(pieces * blocks, 1, [=](int64_t piece, int64_t) {
    const int64_t part = piece / blocks, block = piece % blocks;
    const int64_t begin = part * rows / pieces, end = (part + 1) * rows / pieces;
    const int64_t j = block * most, columns = n - j < most ? n - j : most;
    T *partial = scratch + part * (m * n + m), *partial_sums = partial + m * n;
    alignas(64) T packed[kTransposedRows * kTransposedColumns];
    if (block == 0) std::memset(partial_sums, 0, size_t(m) * sizeof(T));
    for (int64_t p = begin; p < end || p == begin; p += kTransposedRows) {
      const int64_t depth = end - p < kTransposedRows ? end - p : kTransposedRows;
      const int64_t left = end - p - depth < depth ? end - p - depth : depth,
                    tiles = (m + kRows - 1) / kRows * ((columns + kPanel<T> - 1) / kPanel<T>);
      const int64_t share = (left + tiles - 1) / tiles;
      Ahead<T> next_a{a + (p + depth) * lda, lda, left, m}, next_b{b + (p + depth) * ldb + j, ldb, left, columns};
      pack<T>(b + p * ldb + j, ldb, true, columns, depth, packed);
      multiply<T, false>(
          {a + p * lda, 1, lda}, m, packed, columns, depth, partial + j, n, nullptr, p > begin,
          [&] { next_a.ask(share), next_b.ask(share); }, nothing);
      if (block == 0 && sums)
        for (int64_t r = p; r < p + depth; r++)
          lanes_of(m, [&](int64_t i, int l) { store_n<T>(partial_sums + i, load_n(partial_sums + i, l) + load_n(a + r * lda + i, l), l); });
    }
  });
  parallel_for(m, 1 + 16384 / (n + 1), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      for (int64_t part = 0; part < pieces; part++) {
        const T* partial = scratch + part * (m * n + m);
        if (c)
          lanes_of(n,
                   [&](int64_t j, int l) { store_n<T>(c + i * ldc + j, load_n(c + i * ldc + j, l) + load_n(partial + i * n + j, l), l); });
        if (sums) sums[i] += partial[m * n + i];
      }
    }
  });
}

template <class T>
void transposed_rows(const T* a, int64_t lda, const T* b, int64_t ldb, int64_t rows, int64_t m, int64_t n, T* c, int64_t ldc, T* packed) {
  pack<T>(b, ldb, true, n, rows, packed);
  multiply<T, false>({a, 1, lda}, m, packed, n, rows, c, ldc, nullptr, true, nothing, nothing);
}

}  // namespace

template <> void pack_weights(ThisIsa, const float* w, int64_t ldw, bool transposed, int64_t n, int64_t k, float* packed) {
  pack<float>(w, ldw, transposed, n, k, packed);
}
template <> void pack_weights(ThisIsa, const double* w, int64_t ldw, bool transposed, int64_t n, int64_t k, double* packed) {
  pack<double>(w, ldw, transposed, n, k, packed);
}

template <>
void gemm_rows(ThisIsa, const float* a, int64_t lda, int64_t m, const float* packed, int64_t n, int64_t k, float* c, int64_t ldc,
               bool accumulate) {
  multiply<float, true>({a, lda, 1}, m, packed, n, k, c, ldc, nullptr, accumulate, nothing, nothing);
}
template <>
void gemm_rows(ThisIsa, const double* a, int64_t lda, int64_t m, const double* packed, int64_t n, int64_t k, double* c, int64_t ldc,
               bool accumulate) {
  multiply<double, true>({a, lda, 1}, m, packed, n, k, c, ldc, nullptr, accumulate, nothing, nothing);
}

template <>
void gemm(ThisIsa, const float* a, int64_t lda, int64_t m, const float* packed, int64_t n, int64_t k, float* c, int64_t ldc,
          const Epilogue<float>& e) {
  product<float>(a, lda, m, packed, n, k, c, ldc, e);
}
template <>
void gemm(ThisIsa, const double* a, int64_t lda, int64_t m, const double* packed, int64_t n, int64_t k, double* c, int64_t ldc,
          const Epilogue<double>& e) {
  product<double>(a, lda, m, packed, n, k, c, ldc, e);
}

template <> void pack_halves(ThisIsa, const Half* w, int64_t n, int64_t k, Half* packed) { pack_bits(w, n, k, packed); }
template <> void pack_halves(ThisIsa, const Bfloat* w, int64_t n, int64_t k, Bfloat* packed) { pack_bits(w, n, k, packed); }

template <>
void gemm_halves(ThisIsa, const float* a, int64_t lda, int64_t m, const Half* packed, int64_t n, int64_t k, float* c, int64_t ldc,
                 const Epilogue<float>& e) {
  product<float>(a, lda, m, packed, n, k, c, ldc, e);
}
template <>
void gemm_halves(ThisIsa, const float* a, int64_t lda, int64_t m, const Bfloat* packed, int64_t n, int64_t k, float* c, int64_t ldc,
                 const Epilogue<float>& e) {
  product<float>(a, lda, m, packed, n, k, c, ldc, e);
}

template <>
void gemm_transposed(ThisIsa, const float* a, int64_t lda, const float* b, int64_t ldb, int64_t rows, int64_t m, int64_t n, float* c,
                     int64_t ldc, float* sums, float* scratch) {
  transposed_product<float>(a, lda, b, ldb, rows, m, n, c, ldc, sums, scratch);
}
template <>
void gemm_transposed(ThisIsa, const double* a, int64_t lda, const double* b, int64_t ldb, int64_t rows, int64_t m, int64_t n, double* c,
                     int64_t ldc, double* sums, double* scratch) {
  transposed_product<double>(a, lda, b, ldb, rows, m, n, c, ldc, sums, scratch);
}

template <>
void gemm_transposed_rows(ThisIsa, const float* a, int64_t lda, const float* b, int64_t ldb, int64_t rows, int64_t m, int64_t n, float* c,
                          int64_t ldc, float* packed) {
  transposed_rows<float>(a, lda, b, ldb, rows, m, n, c, ldc, packed);
}
template <>
void gemm_transposed_rows(ThisIsa, const double* a, int64_t lda, const double* b, int64_t ldb, int64_t rows, int64_t m, int64_t n,
                          double* c, int64_t ldc, double* packed) {
  transposed_rows<double>(a, lda, b, ldb, rows, m, n, c, ldc, packed);
}

}  // namespace stflow
