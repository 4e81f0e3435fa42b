#pragma once
#include "ops/edge_hidden.h"

namespace stflow {

/// The whole edge MLP of STFLOW.md 3.4 in training, where the dropout of its output is drawn per frame: the mean over frames of
/// dropout(fc2(edge_hidden)). frames (n, k, F, 3); fc1 weight (2m, 3), bias (2m); norm weight and bias (m); fc2 weight (e, m), bias (e);
/// result (n, k, e). `inner` is the dropout within the hidden layer, `outer` that of the output. `frames` takes no gradient.
/// The rows of all frames pass through in groups that stay in the cache: nothing of size n k F is stored, and backward makes it again.
Var edge_mlp(Var frames, Var fc1_weight, Var fc1_bias, Var norm_weight, Var norm_bias, Var fc2_weight, Var fc2_bias, Dropout inner,
             Dropout outer);

/// Most numbers in the rows of a group of edges, so that they stay in the cache.
inline constexpr int64_t kEdgeGroup = 16384;

/// On CUDA: edges that pass through together, and the pieces into which the sums of their weight gradients are cut.
inline constexpr int64_t kCudaEdges = 8192, kCudaEdgePieces = 256;

struct EdgeMlp {
  EdgeHidden hidden;
  Tensor fc2_weight, fc2_bias;
  Dropout outer;
  [[nodiscard]] int64_t half() const { return hidden.half(); }
  [[nodiscard]] int64_t outputs() const { return fc2_bias.size(); }
  [[nodiscard]] int64_t edges() const { return hidden.edges(); }
  [[nodiscard]] int64_t frames() const { return hidden.frames.shape[2]; }
  /// Pieces into which the edges, and with them the sums of weight gradients, are cut: by shape only.
  [[nodiscard]] int64_t pieces() const { return edges() < 64 ? 1 : edges() < 8192 ? 16 : 64; }
  /// Edges that pass through together: about 128 rows, of at most kEdgeGroup numbers.
  [[nodiscard]] int64_t group() const {
    const int64_t wide = (half() > outputs() ? half() : outputs()) + 31, row = wide - wide % 32;
    const int64_t rows = kEdgeGroup / row < 128 ? kEdgeGroup / row : 128;
    return rows > frames() ? rows / frames() : 1;
  }
  /// Numbers of a piece's sums in backward: fc1, norm, fc2 weight and bias.
  [[nodiscard]] int64_t partial() const { return 10 * half() + outputs() * half() + outputs(); }
};

/// Gradients of the parameters; each may be absent.
struct EdgeMlpGrads {
  Tensor fc1_weight, fc1_bias, norm_weight, norm_bias, fc2_weight, fc2_bias;
};

/// scratch: edge_mlp_scratch() bytes.
template <class B> void edge_mlp_forward(B, const EdgeMlp& a, Tensor y, void* scratch);
/// Adds into the gradients.
template <class B> void edge_mlp_backward(B, const EdgeMlp& a, Tensor dy, const EdgeMlpGrads& d, void* scratch);

size_t edge_mlp_scratch(Device device, const EdgeMlp& a, bool backward);

}  // namespace stflow
