#pragma once
#include "engine/tape.h"

namespace stflow {

/// x + y, two inputs of one shape.
Var add(Var x, Var y);
/// x (..., n) + v broadcast over the rows, v (n) or (1, n).
Var add_row(Var x, Var v);

/// y += x: backward of a sum.
template <class B> void accumulate(B, Tensor x, Tensor y);
template <class B> void add_forward(B, Tensor x, Tensor y, Tensor z);
template <class B> void add_row_forward(B, Tensor x, Tensor v, Tensor z);
/// Adds into dv. `scratch` holds reduce_pieces(rows) x n numbers.
template <class B> void add_row_backward(B, Tensor dz, Tensor dv, void* scratch);

}  // namespace stflow
