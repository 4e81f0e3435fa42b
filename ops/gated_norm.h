#pragma once
#include "ops/dropout.h"

namespace stflow {

/// The inside of timm's SwiGLUPacked with a norm, in one pass: u (..., 2m) = [u1 | u2], h = dropout(silu(u1) * u2), result
/// layer normalisation of h over its last dimension with weight, bias (m). Keeps u and two numbers a row for backward.
Var gated_norm(Var u, Var weight, Var bias, float eps, Dropout dropout = {});

/// The largest m.
inline constexpr int64_t kGatedNormWidth = 8192;

struct GatedNorm {
  Tensor u, weight, bias;
  float eps = 0;
  Dropout dropout;
};
/// `stats` (rows, 2) receives mean and 1/sqrt(var + eps) of each row of h; null when nobody needs them.
template <class B> void gated_norm_forward(B, const GatedNorm& a, Tensor y, Tensor stats);
/// Adds into du, dweight, dbias (each may be absent). `scratch` holds reduce_pieces(rows) x 2 x m numbers.
template <class B>
void gated_norm_backward(B, const GatedNorm& a, Tensor stats, Tensor dy, Tensor du, Tensor dweight, Tensor dbias, void* scratch);

}  // namespace stflow
