#include "ops/softmax.h"

namespace stflow {
namespace {

struct Softmax final : Op {
  const char* name() const override { return "softmax"; }
  Tensor infer(std::span<const Tensor> in) const override { return in[0]; }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { softmax_forward(b, c.in[0], c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { softmax_backward(b, c.out, c.dout, c.din[0]); });
  }
  unsigned keep() const override { return kOutput; }
};

}  // namespace

Var softmax(Var x) { return x.tape->record(Softmax(), {x}); }

}  // namespace stflow
