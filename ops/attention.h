#pragma once
#include "engine/tape.h"

namespace stflow {

constexpr int64_t kAllTokens = -1;

/// Multi-head self-attention. qkv (images, tokens, 3 d) holds query, key and value side by side, each cut into `heads` of
/// d / heads numbers (timm's layout); the result (images, tokens, d) is softmax(q k^T / sqrt(d / heads)) v, heads side by side.
/// With `queries`, only so many tokens from the first on ask, and the result is (images, queries, d).
/// The tokens x tokens matrix never exists: some rows of it at a time on the CPU, tiles with an online softmax on a GPU, and tiles again in
/// backward (Dao et al., FlashAttention, 2022).
Var attention(Var qkv, int heads, int64_t queries = kAllTokens);

constexpr int64_t kQueryTile = 64, kKeyTile = 128;
/// Of rows that meet all keys at once on the CPU: they lie in blocks of so many columns, each within so many numbers.
constexpr int64_t kAttentionDepth = 512, kAttentionBlock = 14 * (kAttentionDepth + 16);
constexpr int64_t kCudaHeadDim = 128;  // the widest head of the CUDA kernels, which keep a tile of heads in shared memory

/// out (images, queries, d). `sums` (images, heads, queries) receives the logarithm of each row's sum of exponentials, null when nobody
/// needs it.
/// `scratch`: attention_pieces() times attention_scratch() numbers; on CUDA none.
template <class B> void attention_forward(B, Tensor qkv, int heads, Tensor out, Tensor sums, void* scratch);
/// Adds into dqkv; `scratch` likewise with backward = true; on CUDA as many numbers as `sums` has.
template <class B> void attention_backward(B, Tensor qkv, int heads, Tensor out, Tensor sums, Tensor dout, Tensor dqkv, void* scratch);

/// Pieces into which the (image, head) pairs are cut, each with a scratch of its own: depends on the shape only.
constexpr int64_t attention_pieces(int64_t pairs) { return pairs < 64 ? pairs : 64; }
/// Numbers of scratch per piece: a head's keys and values in panels, rows of queries and scores; in backward packed tiles, score tiles and
/// the row sums of dout * out.
int64_t attention_scratch(int64_t tokens, int64_t head_dim, bool backward);

}  // namespace stflow
