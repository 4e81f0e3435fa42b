#pragma once
#include <span>

#include "engine/tape.h"

namespace stflow {

/// The mean of 1 to kMaxInputs inputs of one shape.
Var mean(std::span<const Var> x);

template <class B> void mean_forward(B, const Tensor* x, int count, Tensor y);
/// dx += dy / count
template <class B> void mean_backward(B, Tensor dy, int count, Tensor dx);

}  // namespace stflow
