#include "ops/mean.h"

namespace stflow {
namespace {

struct Mean final : Op {
  const char* name() const override { return "mean"; }
  Tensor infer(std::span<const Tensor> in) const override {
    for (const Tensor& x : in) check(x.shape == in[0].shape, "mean: {} and {}, expected one shape", in[0].shape.text(), x.shape.text());
    return in[0];
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { mean_forward(b, c.in, c.inputs, c.out); });
  }
  void backward(const Call& c) const override {
    for (int i = 0; i < c.inputs; i++)
      if (c.din[i].data) on(c.context, [&](auto b) { mean_backward(b, c.dout, c.inputs, c.din[i]); });
  }
  unsigned keep() const override { return kNothing; }
};

}  // namespace

Var mean(std::span<const Var> x) {
  check(!x.empty(), "mean: no inputs, expected at least one");
  return x[0].tape->record(Mean(), x);
}

}  // namespace stflow
