#pragma once
#include "ops/dropout.h"

namespace stflow {

/// The first half of the edge MLP (STFLOW.md 3.4: fc1, gate, dropout, norm), the mean over the sign frames of every edge.
/// frames (n, k, F, 3): projections on the minor and major axis and the distance; fc1 weight (2m, 3), bias (2m);
/// norm weight and bias (m). Result (n, k, m): where fc2's output has no dropout, fc2 of the mean is the mean of fc2, and nothing of
/// size n k F is stored. `frames` takes no gradient.
Var edge_hidden(Var frames, Var fc1_weight, Var fc1_bias, Var norm_weight, Var norm_bias, Dropout d = {});

/// Widest hidden layer (2m) of the fused edge kernels: they keep rows on the stack.
inline constexpr int64_t kEdgeWidth = 1024, kEdgeFrames = 8;

struct EdgeHidden {
  Tensor frames, fc1_weight, fc1_bias, norm_weight, norm_bias;
  Dropout dropout;
  [[nodiscard]] int64_t half() const { return norm_weight.size(); }
  [[nodiscard]] int64_t edges() const { return frames.shape[0] * frames.shape[1]; }
  /// Pieces into which the sum of weight gradients is cut: by shape only.
  [[nodiscard]] int64_t pieces() const { return edges() < 64 ? 1 : 16; }
};

template <class B> void edge_hidden_forward(B, const EdgeHidden& a, Tensor y);
/// Adds into the gradients (dw1 (2m, 3), db1 (2m), dnw, dnb (m)). scratch: pieces() x 10m numbers.
template <class B>
void edge_hidden_backward(B, const EdgeHidden& a, Tensor dy, Tensor dw1, Tensor db1, Tensor dnw, Tensor dnb, void* scratch);

}  // namespace stflow
