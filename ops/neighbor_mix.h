#pragma once
#include "ops/dropout.h"
#include "ops/graph.h"

namespace stflow {

/// Attention over the graph (STFLOW.md 3.7-3.8): a = dropout(softmax of score over the k neighbours, per head), then
/// out_i = [ sum_j a_ij value_j | sum_j a_ij edge_ij ], heads side by side. score (n, k, H), value (n, H D), edge (n, k, H E);
/// result (n, H D + H E); zero for a spot without neighbours. `graph` must outlive the tape's program.
Var neighbor_mix(Var score, Var value, Var edge, const Graph& graph, Dropout d = {});

/// The largest product of neighbours and heads: a kernel keeps the weights of one spot on its stack.
inline constexpr int64_t kNeighborMixMost = 4096;

struct NeighborMix {
  Tensor score, value, edge;
  const Graph* graph = nullptr;
  Dropout dropout;
  [[nodiscard]] int64_t heads() const { return score.shape[2]; }
};

/// `weights` and `kept` (n, k, H) receive the softmax before and after dropout; null when backward will not come.
template <class B> void neighbor_mix_forward(B, const NeighborMix& a, Tensor weights, Tensor kept, Tensor y);
/// Adds into the gradients; each may be absent.
template <class B>
void neighbor_mix_backward(B, const NeighborMix& a, Tensor weights, Tensor kept, Tensor dy, Tensor dscore, Tensor dvalue, Tensor dedge);

}  // namespace stflow
