#pragma once
#include "engine/tape.h"

namespace stflow {

/// y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimension (biased variance), x (..., n), weight and bias (n).
Var layernorm(Var x, Var weight, Var bias, float eps);

/// `stats` (rows, 2) receives mean and 1/sqrt(var + eps) of each row; null when nobody needs them.
template <class B> void layernorm_forward(B, Tensor x, Tensor weight, Tensor bias, double eps, Tensor y, Tensor stats);
/// Adds into dx, dweight, dbias (each may be absent). `scratch` holds layernorm_partials(rows) x 2 x n numbers.
template <class B>
void layernorm_backward(B, Tensor x, Tensor weight, Tensor stats, Tensor dy, Tensor dx, Tensor dweight, Tensor dbias, void* scratch);

/// Pieces into which the sum over rows is cut: depends on the shape only, so the order of addition is fixed.
constexpr int64_t layernorm_partials(int64_t rows) { return rows < 16 ? 1 : rows < 1024 ? 4 : 32; }

}  // namespace stflow
