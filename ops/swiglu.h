#pragma once
#include "engine/tape.h"

namespace stflow {

/// SwiGLU of a packed projection: u (..., 2m) = [u1 | u2] gives silu(u1) * u2 (..., m), the activation on the first half.
Var swiglu(Var u);

template <class B> void swiglu_forward(B, Tensor u, Tensor y);
template <class B> void swiglu_backward(B, Tensor u, Tensor dy, Tensor du);

}  // namespace stflow
