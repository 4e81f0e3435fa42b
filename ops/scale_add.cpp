#include "ops/scale_add.h"

namespace stflow {
namespace {

struct ScaleAdd final : Op {
  const char* name() const override { return "scale_add"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].shape == in[1].shape && (in[2].shape.rank == 0 || in[2].shape == Shape{in[0].cols()}), "scale_add: x {}, y {}, scale {}",
          in[0].shape.text(), in[1].shape.text(), in[2].shape.text());
    return in[0];
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { scale_add_forward(b, c.in[0], c.in[1], c.in[2], c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { scale_add_backward(b, c.in[1], c.in[2], c.dout, c.din[0], c.din[1], c.din[2]); });
  }
  unsigned keep() const override { return kInputs; }
};

struct Add final : Op {
  const char* name() const override { return "add"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].shape == in[1].shape, "add: x {}, y {}", in[0].shape.text(), in[1].shape.text());
    return in[0];
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { scale_add_forward(b, c.in[0], c.in[1], Tensor{}, c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { scale_add_backward(b, Tensor{}, Tensor{}, c.dout, c.din[0], c.din[1], Tensor{}); });
  }
  unsigned keep() const override { return kNothing; }
};

}  // namespace

Var scale_add(Var x, Var y, Var scale) {
  return scale.tape ? x.tape->record(ScaleAdd(), {x, y, scale}) : x.tape->record(Add(), {x, y});
}

}  // namespace stflow
