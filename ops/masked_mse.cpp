#include "ops/masked_mse.h"

namespace stflow {
namespace {

struct MaskedMse final : Op {
  const char* name() const override { return "masked_mse"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].shape == in[1].shape && in[2].shape == Shape{in[0].rows()}, "masked_mse: x {}, target {}, weight {}", in[0].shape.text(),
          in[1].shape.text(), in[2].shape.text());
    return {nullptr, {1}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { masked_mse_forward(b, c.in[0], c.in[1], c.in[2], c.out, c.scratch); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { masked_mse_backward(b, c.in[0], c.in[1], c.in[2], c.dout, c.din[0]); });
  }
  unsigned keep() const override { return kInputs; }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    return backward ? 0 : size_t(masked_mse_pieces(c.in[0].rows())) * bytes_of(c.out.type);
  }
};

}  // namespace

Var masked_mse(Var x, Var target, Var weight) { return x.tape->record(MaskedMse(), {x, target, weight}); }

}  // namespace stflow
