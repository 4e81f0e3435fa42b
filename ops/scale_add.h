#pragma once
#include "engine/tape.h"

namespace stflow {

/// x + scale * y, the residual connection of a transformer with LayerScale: x and y (..., n), scale (n); missing: add(x, y).
Var scale_add(Var x, Var y, Var scale);

template <class B> void scale_add_forward(B, Tensor x, Tensor y, Tensor scale, Tensor out);
/// Adds into dx, dy, dscale (each may be absent).
template <class B> void scale_add_backward(B, Tensor y, Tensor scale, Tensor dout, Tensor dx, Tensor dy, Tensor dscale);

}  // namespace stflow
