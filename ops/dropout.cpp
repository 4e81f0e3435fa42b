#include "ops/dropout.h"

namespace stflow {
namespace {

struct DropoutOp final : Op {
  Dropout d;
  explicit DropoutOp(Dropout o) : d(o) {}

  const char* name() const override { return "dropout"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(d.p < 1, "dropout: probability {}, expected below 1", d.p);
    return in[0];
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { dropout_apply(b, d, c.in[0], c.out, false); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { dropout_apply(b, d, c.dout, c.din[0], true); });
  }
  unsigned keep() const override { return kNothing; }
};

}  // namespace

Var dropout(Var x, Dropout d) { return d.active() ? x.tape->record(DropoutOp(d), {x}) : x; }

}  // namespace stflow
