#include "ops/timestep.h"

namespace stflow {
namespace {

struct Timestep final : Op {
  int64_t width;
  explicit Timestep(int64_t w) : width(w) {}

  const char* name() const override { return "timestep"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].size() == 1 && width > 0 && width % 2 == 0, "timestep: time {}, width {}, expected one number and an even width",
          in[0].shape.text(), width);
    return {nullptr, {1, width}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { timestep_forward(b, c.in[0], c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { timestep_backward(b, c.in[0], c.dout, c.din[0]); });
  }
  unsigned keep() const override { return kInputs; }
};

}  // namespace

Var timestep(Var t, int64_t width) { return t.tape->record(Timestep(width), {t}); }

}  // namespace stflow
