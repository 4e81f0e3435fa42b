#include "ops/scale_add.h"

#include "ops/add.h"

namespace stflow {
namespace {

struct ScaleAdd final : Op {
  const char* name() const override { return "scale_add"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].shape == in[1].shape && in[2].shape == Shape{in[0].cols()}, "scale_add: x {}, y {}, scale {}", in[0].shape.text(),
          in[1].shape.text(), in[2].shape.text());
    return in[0];
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { scale_add_forward(b, c.in[0], c.in[1], c.in[2], c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { scale_add_backward(b, c.in[1], c.in[2], c.dout, c.din[0], c.din[1], c.din[2]); });
  }
  int overwrites(const Call& c) const override { return c.context.device == Device::cpu ? 0 : -1; }
  unsigned keep() const override { return kInputs; }
  bool reads_half(const Call&, int i) const override { return i == 1; }
};

}  // namespace

Var scale_add(Var x, Var y, Var scale) { return scale.tape ? x.tape->record(ScaleAdd(), {x, y, scale}) : add(x, y); }

}  // namespace stflow
