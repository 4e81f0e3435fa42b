#pragma once
#include "engine/tape.h"

namespace stflow {

/// What a masked autoencoder's decoder reads: every cell of the grid in its place, the hidden ones as the mask token, with
/// position embeddings. x (images, 1 + visible, d): class token, then visible patches; mask (1, 1, d); position (1, grid, d);
/// order (images, grid), int32: the cells of the visible patches in x's order, then the hidden cells - a permutation.
/// Result (images, 1 + grid, d).
Var unmask_tokens(Var x, Var mask, Var position, Var order);

template <class B> void unmask_tokens_forward(B, Tensor x, Tensor mask, Tensor position, Tensor order, Tensor y);
/// Adds into the gradients, any of which may be absent. `visible`: the patches in x.
template <class B> void unmask_tokens_backward(B, Tensor dy, Tensor order, int64_t visible, Tensor dx, Tensor dmask, Tensor dposition);

}  // namespace stflow
