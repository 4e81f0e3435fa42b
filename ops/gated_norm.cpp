#include "ops/gated_norm.h"

#include "ops/reduce.h"

namespace stflow {
namespace {

struct GatedNormOp final : Op {
  float eps;
  Dropout dropout;
  GatedNormOp(float e, Dropout d) : eps(e), dropout(d) {}

  const char* name() const override { return "gated_norm"; }
  Tensor infer(std::span<const Tensor> in) const override {
    Tensor y = in[0];
    y.shape.n[y.shape.rank - 1] /= 2;
    const Shape m{y.cols()};
    check(in[0].cols() == 2 * m[0] && m[0] <= kGatedNormWidth, "gated_norm: input {}, expected an even last dimension of at most {}",
          in[0].shape.text(), 2 * kGatedNormWidth);
    check(in[1].shape == m && in[2].shape == m, "gated_norm: weight {}, bias {}, expected {}", in[1].shape.text(), in[2].shape.text(),
          m.text());
    return y;
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { gated_norm_forward(b, arguments(c), c.out, stats(c)); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { gated_norm_backward(b, arguments(c), stats(c), c.dout, c.din[0], c.din[1], c.din[2], c.scratch); });
  }
  unsigned keep() const override { return kInputs; }
  size_t saved_bytes(const Call& c) const override { return size_t(c.out.rows()) * 2 * bytes_of(c.out.type); }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    return backward ? size_t(reduce_pieces(c.out.rows()) * 2 * c.out.cols()) * bytes_of(c.out.type) : 0;
  }
  GatedNorm arguments(const Call& c) const { return {c.in[0], c.in[1], c.in[2], eps, dropout}; }
  static Tensor stats(const Call& c) { return {c.saved, {c.out.rows(), 2}, c.out.type}; }
};

}  // namespace

Var gated_norm(Var u, Var weight, Var bias, float eps, Dropout dropout) {
  return u.tape->record(GatedNormOp(eps, dropout), {u, weight, bias});
}

}  // namespace stflow
