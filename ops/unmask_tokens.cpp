#include "ops/unmask_tokens.h"

namespace stflow {
namespace {

struct UnmaskTokens final : Op {
  const char* name() const override { return "unmask_tokens"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape &x = in[0].shape, &mask = in[1].shape, &pos = in[2].shape, &order = in[3].shape;
    check(x.rank == 3 && mask == Shape{1, 1, x[2]} && pos.rank == 3 && pos[2] == x[2] && order == Shape{x[0], pos[1]} &&
              in[3].type == DType::i32 && x[1] >= 1 && x[1] - 1 <= pos[1],
          "unmask_tokens: x {}, mask {}, position {}, order {}", x.text(), mask.text(), pos.text(), order.text());
    return {nullptr, {x[0], 1 + pos[1], x[2]}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { unmask_tokens_forward(b, c.in[0], c.in[1], c.in[2], c.in[3], c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { unmask_tokens_backward(b, c.dout, c.in[3], c.in[0].shape[1] - 1, c.din[0], c.din[1], c.din[2]); });
  }
  unsigned keep() const override { return kInputs; }
};

}  // namespace

Var unmask_tokens(Var x, Var mask, Var position, Var order) { return x.tape->record(UnmaskTokens(), {x, mask, position, order}); }

}  // namespace stflow
