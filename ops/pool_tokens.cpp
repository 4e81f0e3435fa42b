#include "ops/pool_tokens.h"

namespace stflow {
namespace {

struct PoolTokens final : Op {
  int64_t prefix;
  Pooling pooling;
  PoolTokens(int64_t p, Pooling how) : prefix(p), pooling(how) {}

  const char* name() const override { return "pool_tokens"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape;
    check(s.rank == 3 && (pooling == Pooling::mean || prefix > 0) && (pooling == Pooling::cls || s[1] > prefix),
          "pool_tokens: {} with {} prefix tokens", s.text(), prefix);
    return {nullptr, {s[0], pooled_size(pooling, s[2])}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { pool_tokens_forward(b, c.in[0], prefix, pooling, c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { pool_tokens_backward(b, c.dout, prefix, pooling, c.din[0]); });
  }
  unsigned keep() const override { return kNothing; }
};

}  // namespace

Var pool_tokens(Var x, int64_t prefix, Pooling pooling) { return x.tape->record(PoolTokens(prefix, pooling), {x}); }

}  // namespace stflow
