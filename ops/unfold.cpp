#include "ops/unfold.h"

namespace stflow {
namespace {

struct Unfold final : Op {
  Window window;
  explicit Unfold(const Window& w) : window(w) {}

  const char* name() const override { return "unfold"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape;
    check(s.rank >= 3 && window.fits() && in[0].size() == s[0] * window.height * window.width * s[-1],
          "unfold: {}, expected (images, {} x {}, channels) and a window of {} that fits it", s.text(), window.height, window.width,
          window.kernel);
    return {nullptr, {s[0], window.out_height() * window.out_width(), window.kernel * window.kernel * s[-1]}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { unfold_forward(b, c.in[0], window, c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { unfold_backward(b, c.dout, window, c.din[0]); });
  }
  unsigned keep() const override { return kNothing; }
};

}  // namespace

Var unfold(Var x, const Window& window) { return x.tape->record(Unfold(window), {x}); }

}  // namespace stflow
