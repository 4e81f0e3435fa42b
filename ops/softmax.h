#pragma once
#include "engine/tape.h"

namespace stflow {

/// y = e^x / sum(e^x) over the last dimension.
Var softmax(Var x);

template <class B> void softmax_forward(B, Tensor x, Tensor y);
template <class B> void softmax_backward(B, Tensor y, Tensor dy, Tensor dx);

}  // namespace stflow
