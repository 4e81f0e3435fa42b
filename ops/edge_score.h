#pragma once
#include "ops/dropout.h"
#include "ops/graph.h"

namespace stflow {

/// The attention logits of STFLOW.md 3.6, one SwiGLU block 2m -> m -> 1 shared by the heads, on [q_i | k_j | e_ij | g_j - g_i].
/// Its first layer is linear in these four, so the caller projects per spot what belongs to a spot:
///   u_ijh = query[i,h] + key[j,h] + (gene[j] - gene[i]) + We e_ijh      (query holds the bias)
///   score_ijh = w . norm(dropout(silu(u1) * u2)) + b
/// query, key (n, H, 2m); gene (n, 2m); edge (n, k, H D); edge_weight We (2m, D); norm weight, bias (m); fc2 weight (1, m), bias (1).
/// Result (n, k, H). `graph` must outlive the tape's program.
Var edge_score(Var query, Var key, Var gene, Var edge, Var edge_weight, Var norm_weight, Var norm_bias, Var fc2_weight, Var fc2_bias,
               const Graph& graph, Dropout d = {});

/// Widest hidden layer (2m) and edge features (D), and largest We (2m x D): they are kept on the stack or in a block's shared memory.
inline constexpr int64_t kScoreWidth = 1024, kScoreWeight = 64 * 1024;

/// On CUDA: the most pieces, each a block's, into which the sums of We's, the norm's and fc2's gradients are cut.
inline constexpr int64_t kCudaScorePieces = 384;

struct EdgeScore {
  Tensor query, key, gene, edge, edge_weight, norm_weight, norm_bias, fc2_weight, fc2_bias;
  const Graph* graph = nullptr;
  Dropout dropout;
  [[nodiscard]] int64_t half() const { return norm_weight.size(); }
  [[nodiscard]] int64_t heads() const { return query.shape[1]; }
  [[nodiscard]] int64_t width() const { return edge_weight.cols(); }  // of one head's edge features
  [[nodiscard]] int64_t rows() const { return edge.rows() * heads(); }
  [[nodiscard]] int64_t pieces() const { return rows() < 256 ? 1 : 16; }
  /// Numbers of a piece's sums in backward: dWe, S, s, and those of the spot at hand.
  [[nodiscard]] int64_t partial() const { return 2 * half() * width() + half() + 16 + heads() * 2 * half(); }
  /// Likewise on CUDA, and the numbers of a piece: dWe, S, s.
  [[nodiscard]] int64_t cuda_pieces() const { return graph->n < kCudaScorePieces ? graph->n : kCudaScorePieces; }
  [[nodiscard]] int64_t cuda_partial() const { return 2 * half() * width() + half() + 1; }
};

/// Gradients of EdgeScore's tensors in their order; each may be absent.
struct EdgeScoreGrads {
  Tensor query, key, gene, edge, edge_weight, norm_weight, norm_bias, fc2_weight, fc2_bias;
};

template <class B> void edge_score_forward(B, const EdgeScore& a, Tensor y);
/// Adds into the gradients. scratch: rows() x 2m numbers, then pieces() x partial(); on CUDA only cuda_pieces() x cuda_partial().
template <class B> void edge_score_backward(B, const EdgeScore& a, Tensor dy, const EdgeScoreGrads& d, void* scratch);

}  // namespace stflow
