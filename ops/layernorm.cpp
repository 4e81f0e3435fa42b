#include "ops/layernorm.h"

namespace stflow {
namespace {

struct LayerNorm final : Op {
  float eps;
  explicit LayerNorm(float e) : eps(e) {}

  const char* name() const override { return "layernorm"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape n{in[0].cols()};
    check(in[1].shape == n && in[2].shape == n, "layernorm: weight {}, bias {}, expected {}", in[1].shape.text(), in[2].shape.text(),
          n.text());
    return in[0];
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { layernorm_forward(b, c.in[0], c.in[1], c.in[2], eps, c.out, stats(c)); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { layernorm_backward(b, c.in[0], c.in[1], stats(c), c.dout, c.din[0], c.din[1], c.din[2], c.scratch); });
  }
  unsigned keep() const override { return kInputs; }
  bool writes_half(const Call&) const override { return true; }
  size_t saved_bytes(const Call& c) const override { return size_t(c.in[0].rows()) * 2 * bytes_of(c.out.type); }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    return backward ? size_t(layernorm_partials(c.in[0].rows()) * 2 * c.in[0].cols()) * bytes_of(c.out.type) : 0;
  }
  static Tensor stats(const Call& c) { return {c.saved, {c.in[0].rows(), 2}, c.out.type}; }
};

}  // namespace

Var layernorm(Var x, Var weight, Var bias, float eps) { return x.tape->record(LayerNorm(eps), {x, weight, bias}); }

}  // namespace stflow
