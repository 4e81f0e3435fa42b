#pragma once
#include "engine/tape.h"

namespace stflow {

/// The sequence a transformer reads: [class token, registers, patches] with position embeddings added.
/// patches (images, n, d); cls (1, 1, d) and registers (1, r, d) may be missing; position (1, q + grid, d): its first q rows
/// belong to the first q prefix tokens (q = 0: timm's no_embed_class), the others to the cells of the grid. `cells`
/// (images, n), int32, says which cell each patch is; missing: patch i is cell i and n = grid. Result (images, 1 + r + n, d).
/// `grid`: the number of cells. Cells must lie in [0, grid).
Var assemble_tokens(Var patches, Var cls, Var registers, Var position, Var cells, int64_t grid);

template <class B>
void assemble_tokens_forward(B, Tensor patches, Tensor cls, Tensor registers, Tensor position, Tensor cells, int64_t grid, Tensor y);
/// Adds into the gradients, any of which may be absent.
template <class B>
void assemble_tokens_backward(B, Tensor dy, Tensor cells, int64_t grid, Tensor dpatches, Tensor dcls, Tensor dregisters, Tensor dposition);

}  // namespace stflow
