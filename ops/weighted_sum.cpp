#include "ops/weighted_sum.h"

namespace stflow {
namespace {

struct WeightedSum final : Op {
  const char* name() const override { return "weighted_sum"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].shape == in[1].shape, "weighted_sum: {} and {}, expected equal shapes", in[0].shape.text(), in[1].shape.text());
    return {nullptr, {1}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { weighted_sum_forward(b, c.in[0], c.in[1], c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { weighted_sum_backward(b, c.in[1], c.dout, c.din[0]); });
  }
  unsigned keep() const override { return kInputs; }
};

}  // namespace

Var weighted_sum(Var x, Var weight) { return x.tape->record(WeightedSum{}, {x, weight}); }

}  // namespace stflow
