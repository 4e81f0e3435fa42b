#pragma once
#include "engine/tape.h"

namespace stflow {

/// Multi-head attention of queries that are the same for every image (an attention pooler): q (queries, d), kv (images, tokens,
/// 2 d) holds key and value side by side, each cut into `heads` of d / heads numbers; the result (images, queries, d) is
/// softmax(q k^T / sqrt(d / heads)) v, heads side by side.
Var cross_attention(Var q, Var kv, int heads);

/// `scratch` holds cross_attention_scratch() numbers.
template <class B> void cross_attention_forward(B, Tensor q, Tensor kv, int heads, Tensor out, void* scratch);
/// Adds into dq and dkv, either of which may be absent.
template <class B>
void cross_attention_backward(B, Tensor q, Tensor kv, int heads, Tensor out, Tensor dout, Tensor dq, Tensor dkv, void* scratch);

/// Numbers of scratch: a row of scores for every (image, head, query); backward another one, and dq of every image.
constexpr int64_t cross_attention_scratch(const Tensor& q, const Tensor& kv, int heads, bool backward) {
  const int64_t rows = kv.shape.n[0] * heads * q.shape.n[0] * kv.shape.n[1];
  return backward ? 2 * rows + kv.shape.n[0] * q.shape.n[0] * q.shape.n[1] : rows;
}

}  // namespace stflow
