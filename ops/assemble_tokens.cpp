#include "ops/assemble_tokens.h"

namespace stflow {
namespace {

struct AssembleTokens final : Op {
  int64_t grid;
  explicit AssembleTokens(int64_t g) : grid(g) {}

  const char* name() const override { return "assemble_tokens"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape &x = in[0].shape, &cls = in[1].shape, &reg = in[2].shape, &pos = in[3].shape, &cells = in[4].shape;
    const int64_t prefix = (cls.rank ? 1 : 0) + (reg.rank ? reg[1] : 0);
    check(x.rank == 3 && (!cls.rank || cls == Shape{1, 1, x[2]}) && (!reg.rank || (reg.rank == 3 && reg[2] == x[2])),
          "assemble_tokens: patches {}, class token {}, registers {}", x.text(), cls.text(), reg.text());
    check(pos.rank == 3 && pos[2] == x[2] && pos[1] >= grid && pos[1] <= grid + prefix,
          "assemble_tokens: position {} for {} cells and {} prefix tokens", pos.text(), grid, prefix);
    check(cells.rank ? cells == Shape{x[0], x[1]} && in[4].type == DType::i32 : x[1] == grid,
          "assemble_tokens: cells {} for patches {} on a grid of {}", cells.text(), x.text(), grid);
    return {nullptr, {x[0], prefix + x[1], x[2]}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { assemble_tokens_forward(b, c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], grid, c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { assemble_tokens_backward(b, c.dout, c.in[4], grid, c.din[0], c.din[1], c.din[2], c.din[3]); });
  }
  unsigned keep() const override { return kInputs; }
};

}  // namespace

Var assemble_tokens(Var patches, Var cls, Var registers, Var position, Var cells, int64_t grid) {
  return patches.tape->record(AssembleTokens(grid), {patches, cls, registers, position, cells});
}

}  // namespace stflow
