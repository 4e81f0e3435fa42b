#include "ops/attention.h"

#include "ops/gemm.h"

namespace stflow {
namespace {

struct Attention final : Op {
  int heads;
  int64_t queries;
  Attention(int h, int64_t q) : heads(h), queries(q) {}

  const char* name() const override { return "attention"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape;
    check(s.rank == 3 && heads > 0 && s[2] % (3 * heads) == 0, "attention: qkv {} and {} heads, expected (images, tokens, 3 x heads x n)",
          s.text(), heads);
    check(queries <= s[1], "attention: {} queries, expected at most the {} tokens", queries, s[1]);
    return {nullptr, {s[0], queries == kAllTokens ? s[1] : queries, s[2] / 3}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { attention_forward(b, c.in[0], heads, c.out, sums(c), c.scratch); });
  }
  void backward(const Call& c) const override {
    if (!c.din[0].data) return;
    on(c.context, [&](auto b) { attention_backward(b, c.in[0], heads, c.out, sums(c), c.dout, c.din[0], c.scratch); });
  }
  bool reads_half(const Call&, int) const override { return true; }
  bool writes_half(const Call& c) const override { return c.in[0].type == DType::bf16; }
  size_t saved_bytes(const Call& c) const override { return size_t(c.out.shape[0] * heads * c.out.shape[1]) * bytes_of(c.out.type); }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    const Shape& s = c.out.shape;
    if (c.context.device == Device::cuda) return backward ? saved_bytes(c) : 0;
    return size_t(attention_pieces(s[0] * heads) * attention_scratch(c.in[0].shape[1], s[2] / heads, backward)) * bytes_of(c.out.type);
  }
  Tensor sums(const Call& c) const { return {c.saved, {c.out.shape[0], heads, c.out.shape[1]}, c.out.type}; }
};

}  // namespace

Var attention(Var qkv, int heads, int64_t queries) { return qkv.tape->record(Attention(heads, queries), {qkv}); }

int64_t attention_scratch(int64_t tokens, int64_t head_dim, bool backward) {
  if (!backward) {
    const int64_t blocks = (tokens + kAttentionDepth - 1) / kAttentionDepth + (head_dim + kAttentionDepth - 1) / kAttentionDepth;
    return packed_elements(tokens, head_dim) + packed_elements(head_dim, tokens) + blocks * kAttentionBlock;
  }
  const int64_t tile = kQueryTile * kKeyTile, values = packed_elements(head_dim, kKeyTile);
  const int64_t query_tiles = (tokens + kQueryTile - 1) / kQueryTile;
  const int64_t as_columns = packed_elements(kQueryTile, head_dim), as_rows = packed_elements(head_dim, kQueryTile);
  return query_tiles * 2 * (as_columns + as_rows) + values + 3 * tile + query_tiles * kQueryTile;
}

}  // namespace stflow
