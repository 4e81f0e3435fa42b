#pragma once
#include "engine/tape.h"

namespace stflow {

/// sum(x * weight) as one number (1): the scalar that gradient checks differentiate. weight takes no gradient.
Var weighted_sum(Var x, Var weight);

template <class B> void weighted_sum_forward(B, Tensor x, Tensor weight, Tensor y);
template <class B> void weighted_sum_backward(B, Tensor weight, Tensor dy, Tensor dx);

}  // namespace stflow
