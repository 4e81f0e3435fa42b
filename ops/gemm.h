// Matrix products on packed weights: the primitive under linear() and inside fused kernels.
#pragma once
#include <cstdint>

#include "engine/half.h"
#include "ops/linear.h"

namespace stflow {

/// Numbers that pack_weights() writes for a (k, n) operand: whole panels of columns on every instruction set.
constexpr int64_t packed_elements(int64_t n, int64_t k) { return (n + 31) / 32 * 32 * k; }

/// Lays the right operand (k, n) of a product into panels of columns, the missing columns of the last one zero.
/// It is the transpose of w (n, k), PyTorch's layout of a Linear weight, or with `transposed` w itself is (k, n); rows of w
/// are `ldw` numbers apart. `packed` holds packed_elements(n, k) numbers, 64-byte aligned. T is float or double.
template <class B, class T> void pack_weights(B, const T* w, int64_t ldw, bool transposed, int64_t n, int64_t k, T* packed);

/// C (m, n) = A (m, k) times a packed operand, or C += with `accumulate`, on the calling thread; any m, n, k >= 0.
/// Each element is summed over k in one fixed order.
template <class B, class T>
void gemm_rows(B, const T* a, int64_t lda, int64_t m, const T* packed, int64_t n, int64_t k, T* c, int64_t ldc, bool accumulate);

/// What happens to each element of a finished product: + bias (n), a copy to `pre` (m, n; leading dimension ldc), activation.
template <class T> struct Epilogue {
  const T* bias = nullptr;
  T* pre = nullptr;
  Activation activation = Activation::none;
  bool accumulate = false;  // C += instead of C =; only without an activation
};

/// gemm_rows on all threads, with an epilogue.
template <class B, class T>
void gemm(B, const T* a, int64_t lda, int64_t m, const T* packed, int64_t n, int64_t k, T* c, int64_t ldc, const Epilogue<T>& epilogue);

/// pack_weights() of w (n, k) with n and ldw = k in 16 bits; W is Half or Bfloat.
template <class B, class W> void pack_halves(B, const W* w, int64_t n, int64_t k, W* packed);
/// gemm() with a right operand in 16 bits, which becomes float32 block by block in the cache: the bytes that gemm() gives for it.
template <class B, class W>
void gemm_halves(B, const float* a, int64_t lda, int64_t m, const W* packed, int64_t n, int64_t k, float* c, int64_t ldc,
                 const Epilogue<float>& epilogue);

/// C (m, n) += A^T B for A (rows, m) and B (rows, n) row-major, where C is given, and where `sums` is given sums (m) += the column sums of
/// A, on all threads: the gradients of a weight and its bias. The rows are cut into gemm_transposed_pieces() partial sums that are added in
/// order; `scratch` holds gemm_transposed_scratch() numbers.
template <class B, class T>
void gemm_transposed(B, const T* a, int64_t lda, const T* b, int64_t ldb, int64_t rows, int64_t m, int64_t n, T* c, int64_t ldc, T* sums,
                     T* scratch);

/// C (m, n) += A^T B on the calling thread, for A (rows, m) and B (rows, n) row-major that lie in the cache.
/// `packed` holds packed_elements(n, rows) numbers.
template <class B, class T>
void gemm_transposed_rows(B, const T* a, int64_t lda, const T* b, int64_t ldb, int64_t rows, int64_t m, int64_t n, T* c, int64_t ldc,
                          T* packed);

/// Partial sums of gemm_transposed(): depends on the shape only.
constexpr int64_t gemm_transposed_pieces(int64_t rows, int64_t m, int64_t n) {
  const int64_t by_rows = (rows + 511) / 512, by_memory = (int64_t(1) << 21) / (m * n + 1) + 1;
  const int64_t pieces = by_rows < by_memory ? by_rows : by_memory;
  return pieces < 1 ? 1 : pieces > 32 ? 32 : pieces;
}
/// Numbers of scratch that gemm_transposed() needs.
constexpr int64_t gemm_transposed_scratch(int64_t rows, int64_t m, int64_t n) { return gemm_transposed_pieces(rows, m, n) * (m * n + m); }

}  // namespace stflow
