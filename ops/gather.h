#pragma once
#include "engine/tape.h"

namespace stflow {

/// Rows of x (rows, ...) by number: y[i] = x[index[i]], index (n) of type i32, y (n, ...). On the CPU throws Exit::internal
/// for a number outside [0, rows). Backward adds into rows in the order of index, columns in parallel.
Var gather(Var x, Var index);

template <class B> void gather_forward(B, Tensor x, Tensor index, Tensor y);
template <class B> void gather_backward(B, Tensor index, Tensor dy, Tensor dx);

}  // namespace stflow
