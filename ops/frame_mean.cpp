#include "ops/frame_mean.h"

namespace stflow {
namespace {

struct FrameMean final : Op {
  Dropout dropout;
  explicit FrameMean(Dropout d) : dropout(d) {}

  const char* name() const override { return "frame_mean"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape& x = in[0].shape;
    check(x.rank == 4 && x[2] * x[3] <= kFrameMeanNumbers, "frame_mean: {}, expected (n, k, F, e) with F e at most {}", x.text(),
          kFrameMeanNumbers);
    return {nullptr, {x[0], x[1], x[3]}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { frame_mean_forward(b, c.in[0], dropout, c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { frame_mean_backward(b, dropout, c.dout, c.din[0]); });
  }
  unsigned keep() const override { return kNothing; }
};

}  // namespace

Var frame_mean(Var x, Dropout d) { return x.tape->record(FrameMean(d), {x}); }

}  // namespace stflow
