#include "ops/activation.h"

namespace stflow {
namespace {

struct ActivationOp final : Op {
  Activation kind;
  explicit ActivationOp(Activation k) : kind(k) {}

  const char* name() const override { return kind == Activation::gelu ? "gelu" : kind == Activation::silu ? "silu" : "relu"; }
  Tensor infer(std::span<const Tensor> in) const override { return in[0]; }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { activation_forward(b, kind, c.in[0], c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { activation_backward(b, kind, c.in[0], c.dout, c.din[0]); });
  }
  unsigned keep() const override { return kInputs; }
};

}  // namespace

Var activation(Var x, Activation kind) { return kind == Activation::none ? x : x.tape->record(ActivationOp(kind), {x}); }

}  // namespace stflow
