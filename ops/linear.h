#pragma once
#include "engine/tape.h"

namespace stflow {

/// What linear() applies to its result before it is stored.
enum class Activation : uint8_t { none, gelu, silu };  // gelu is the exact (erf) form

/// y = activation(x W^T + b): x (..., in), weight (out, in) as PyTorch keeps it, bias (out) or missing, y (..., out).
Var linear(Var x, Var weight, Var bias, Activation activation = Activation::none);

}  // namespace stflow
