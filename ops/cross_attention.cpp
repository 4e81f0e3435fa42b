#include "ops/cross_attention.h"

namespace stflow {
namespace {

struct CrossAttention final : Op {
  int heads;
  explicit CrossAttention(int h) : heads(h) {}

  const char* name() const override { return "cross_attention"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape &q = in[0].shape, &kv = in[1].shape;
    check(q.rank == 2 && kv.rank == 3 && kv[2] == 2 * q[1] && heads > 0 && q[1] % heads == 0 && kv[1] > 0,
          "cross_attention: q {}, kv {} and {} heads, expected (queries, heads x n) and (images, tokens, 2 x heads x n)", q.text(),
          kv.text(), heads);
    return {nullptr, {kv[0], q[0], q[1]}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { cross_attention_forward(b, c.in[0], c.in[1], heads, c.out, c.scratch); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { cross_attention_backward(b, c.in[0], c.in[1], heads, c.out, c.dout, c.din[0], c.din[1], c.scratch); });
  }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    return size_t(cross_attention_scratch(c.in[0], c.in[1], heads, backward)) * bytes_of(c.out.type);
  }
};

}  // namespace

Var cross_attention(Var q, Var kv, int heads) { return q.tape->record(CrossAttention(heads), {q, kv}); }

}  // namespace stflow
