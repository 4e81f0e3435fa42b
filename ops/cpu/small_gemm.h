// A product of small matrices on one thread, for use inside fused kernels whose operands already lie in the caches.
#pragma once
#include "ops/cpu/simd.h"

namespace stflow {
namespace {

#if defined(__AVX512F__)
constexpr int kBlockRows = 8, kBlockCols = 2;  // 16 of 32 registers accumulate
#else
constexpr int kBlockRows = 4, kBlockCols = 1;
#endif

/// C (R, 16 V) (+)= A B for one register block; `lanes` cuts the last vector.
template <class T, int R, int V>
STFLOW_INLINE void gemm_block(int64_t k, const T* a, int64_t row, int64_t col, const T* b, int64_t ldb, T* c, int64_t ldc, int lanes,
                              bool add) {
  Vec<T> acc[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++)
      acc[r][v] = !add ? Vec<T>{} : v < V - 1 ? load(c + r * ldc + v * kLanes) : load_n(c + r * ldc + v * kLanes, lanes);
  for (int64_t i = 0; i < k; i++) {
    Vec<T> bv[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) bv[v] = v < V - 1 ? load(b + i * ldb + v * kLanes) : load_n(b + i * ldb + v * kLanes, lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const Vec<T> x = splat(a[r * row + i * col]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) acc[r][v] = fma<T>(x, bv[v], acc[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++)
      if (v < V - 1) store(c + r * ldc + v * kLanes, acc[r][v]);
      else store_n<T>(c + r * ldc + v * kLanes, acc[r][v], lanes);
}

/// C (m, n) = A B, or += with `add`: element (r, i) of A is a[r * row + i * col], B (k, n) and C are row-major.
template <class T>
void small_gemm(int64_t m, int64_t n, int64_t k, const T* a, int64_t row, int64_t col, const T* b, int64_t ldb, T* c, int64_t ldc,
                bool add) {
  constexpr int64_t wide = kBlockCols * kLanes;
  for (int64_t j = 0; j < n;) {
    const bool full = j + wide <= n;
    const int64_t step = full ? wide : n - j < kLanes ? n - j : kLanes;
    int64_t i = 0;
    for (; i + kBlockRows <= m; i += kBlockRows) {
      if (full) gemm_block<T, kBlockRows, kBlockCols>(k, a + i * row, row, col, b + j, ldb, c + i * ldc + j, ldc, kLanes, add);
      else gemm_block<T, kBlockRows, 1>(k, a + i * row, row, col, b + j, ldb, c + i * ldc + j, ldc, int(step), add);
    }
    for (; i < m; i++) {
      if (full) gemm_block<T, 1, kBlockCols>(k, a + i * row, row, col, b + j, ldb, c + i * ldc + j, ldc, kLanes, add);
      else gemm_block<T, 1, 1>(k, a + i * row, row, col, b + j, ldb, c + i * ldc + j, ldc, int(step), add);
    }
    j += step;
  }
}

}  // namespace
}  // namespace stflow
