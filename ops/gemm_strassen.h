// Large products of inference by Strassen's algorithm: an eighth fewer multiplications.
#pragma once
#include "ops/gemm.h"

namespace stflow {

/// Whether gemm_strassen() takes an operand (k, n) and groups of `rows` rows, and is worth its additions.
constexpr bool strassen_pays(int64_t rows, int64_t n, int64_t k) { return rows >= 32 && k >= 384 && k % 2 == 0 && n >= 384 && n % 64 == 0; }

/// C = activation(A times a packed operand (k, n) + bias) for A (groups, rows, k), C (groups, rows, n) and bias (n) or null, on all
/// threads. W is float, or Half or Bfloat, packed by pack_weights() or pack_halves(). A row meets only rows of its own group, so that its
/// bytes do not depend on the other groups. The error, of about twice gemm()'s size, is relative to the largest rows of the group and
/// columns of the operand, not to each one's own.
template <class B, class W>
void gemm_strassen(B, const float* a, int64_t groups, int64_t rows, const W* packed, int64_t n, int64_t k, float* c, const float* bias,
                   Activation activation);

}  // namespace stflow
