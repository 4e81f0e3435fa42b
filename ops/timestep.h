#pragma once
#include "engine/tape.h"

namespace stflow {

/// DiT's sinusoidal embedding of a time t (1): with f_j = exp(-ln(10000) j / h), j < h = width / 2, result (1, width) is
/// [cos(t f) | sin(t f)], computed in float64. `width` is even.
Var timestep(Var t, int64_t width);

template <class B> void timestep_forward(B, Tensor t, Tensor y);
template <class B> void timestep_backward(B, Tensor t, Tensor dy, Tensor dt);

}  // namespace stflow
