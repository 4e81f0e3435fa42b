#pragma once
#include "engine/tape.h"

namespace stflow {

/// sum over rows of weight[row] * mean((x - target)^2 along the row), as one number (1): a mean over chosen rows when the
/// weights are 1 / their number there and 0 elsewhere. x and target (..., n), weight (rows); only x takes a gradient.
Var masked_mse(Var x, Var target, Var weight);

/// `scratch`: masked_mse_pieces(rows) numbers.
template <class B> void masked_mse_forward(B, Tensor x, Tensor target, Tensor weight, Tensor y, void* scratch);
/// Adds into dx.
template <class B> void masked_mse_backward(B, Tensor x, Tensor target, Tensor weight, Tensor dy, Tensor dx);

/// Pieces into which the sum over rows is cut: depends on the shape only.
constexpr int64_t masked_mse_pieces(int64_t rows) { return rows < 16 ? 1 : 16; }

}  // namespace stflow
