#include "ops/swiglu.h"

namespace stflow {
namespace {

struct Swiglu final : Op {
  const char* name() const override { return "swiglu"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].cols() % 2 == 0, "swiglu: input {}, expected an even last dimension", in[0].shape.text());
    Tensor y = in[0];
    y.shape.n[y.shape.rank - 1] /= 2;
    return y;
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { swiglu_forward(b, c.in[0], c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { swiglu_backward(b, c.in[0], c.dout, c.din[0]); });
  }
  unsigned keep() const override { return kInputs; }
  bool reads_half(const Call&, int) const override { return true; }
  bool writes_half(const Call&) const override { return true; }
};

}  // namespace

Var swiglu(Var u) { return u.tape->record(Swiglu(), {u}); }

}  // namespace stflow
