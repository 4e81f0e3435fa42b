#include "ops/mse.h"

namespace stflow {
namespace {

struct Mse final : Op {
  Reduction reduction;
  explicit Mse(Reduction r) : reduction(r) {}

  const char* name() const override { return "mse"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].shape == in[1].shape, "mse: {} and {}, expected one shape", in[0].shape.text(), in[1].shape.text());
    check(reduction == Reduction::sum || in[0].size() > 0, "mse: no elements, expected some to take the mean of");
    check(in[2].size() == 0 || (reduction == Reduction::sum && in[2].size() == 1 && in[2].type == in[0].type),
          "mse: {} of {} as the number of rows, expected one {} and a sum", in[2].shape.text(), name_of(in[2].type), name_of(in[0].type));
    return {nullptr, {1}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { mse_forward(b, c.in[0], c.in[1], c.in[2], reduction, c.out, static_cast<double*>(c.scratch)); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { mse_backward(b, c.in[0], c.in[1], c.in[2], reduction, c.dout, c.din[0], c.din[1]); });
  }
  unsigned keep() const override { return kInputs; }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    return backward ? 0 : size_t((c.in[0].size() + kMseGrain - 1) / kMseGrain) * sizeof(double);
  }
};

}  // namespace

Var mse(Var prediction, Var target, Reduction reduction, Var rows) {
  return prediction.tape->record(Mse(reduction), {prediction, target, rows});
}

}  // namespace stflow
