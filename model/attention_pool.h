// CONCH's attention pooler: learned queries look at all tokens of an image.
#pragma once
#include "model/layers.h"
#include "ops/cross_attention.h"

namespace stflow {

/// The result of the first query, normalised (images, dim), as HEST and TRIDENT use it: CONCH's projection into the space it shares
/// with texts and the scaling to unit length are not applied. Every layer norm here has torch's default eps of 1e-5.
struct AttentionPool {
  Parameter query;  // (1, dim)
  LayerNorm norm_q, norm_k, norm;
  Linear q, kv, proj;
  int heads = 0;

  AttentionPool() = default;
  /// `bias`: CONCH 1's torch MultiheadAttention; without: CONCH 1.5.
  AttentionPool(ParameterSet& set, const std::string& name, int64_t dim, int64_t context, int64_t heads_, bool bias)
      : query(set.add(name + ".query", {1, dim}, Init::trunc_normal)),
        norm_q(set, name + ".norm_q", dim),
        norm_k(set, name + ".norm_k", context),
        norm(set, name + ".norm", dim),
        q(set, name + ".q", dim, dim, Init::xavier, bias),
        kv(set, name + ".kv", context, 2 * dim, Init::xavier, bias),
        proj(set, name + ".proj", dim, dim, Init::xavier, bias),
        heads(int(heads_)) {}

  /// Tokens (images, n, context) -> (images, 1, dim).
  Var operator()(Var tokens) const { return norm(proj(cross_attention(q(norm_q(tokens.tape->param(query))), kv(norm_k(tokens)), heads))); }
};

}  // namespace stflow
