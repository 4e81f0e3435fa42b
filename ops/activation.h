#pragma once
#include "engine/tape.h"

namespace stflow {

/// A function of one number: gelu is the exact (erf) form, silu(x) = x / (1 + e^-x), relu(x) = max(x, 0) with slope 0 at 0.
enum class Activation : uint8_t { none, gelu, silu, relu };

/// y = activation(x), any shape; `none` returns x itself. linear() applies one to its result at no cost of memory traffic.
Var activation(Var x, Activation activation);

template <class B> void activation_forward(B, Activation, Tensor x, Tensor y);
template <class B> void activation_backward(B, Activation, Tensor x, Tensor dy, Tensor dx);

}  // namespace stflow
