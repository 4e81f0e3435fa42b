#include "ops/gather.h"

namespace stflow {
namespace {

struct Gather final : Op {
  const char* name() const override { return "gather"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[1].type == DType::i32 && in[1].shape.rank == 1, "gather: index {} of {}, expected one dimension of i32", in[1].shape.text(),
          name_of(in[1].type));
    Tensor y = in[0];
    y.shape.n[0] = in[1].size();
    return y;
  }
  void forward(const Call& c) const override {
    const int32_t* index = c.in[1].as<int32_t>();
    for (int64_t i = 0; c.context.device == Device::cpu && i < c.in[1].size(); i++)
      check(index[i] >= 0 && index[i] < c.in[0].shape[0], "gather: index {} is {}, expected below {}", i, index[i], c.in[0].shape[0]);
    on(c.context, [&](auto b) { gather_forward(b, c.in[0], c.in[1], c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { gather_backward(b, c.in[1], c.dout, c.din[0]); });
  }
  unsigned keep() const override { return kInputs; }
};

}  // namespace

Var gather(Var x, Var index) { return x.tape->record(Gather(), {x, index}); }

}  // namespace stflow
