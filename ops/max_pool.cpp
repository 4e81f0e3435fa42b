#include "ops/max_pool.h"

namespace stflow {
namespace {

struct MaxPool final : Op {
  Window window;
  explicit MaxPool(const Window& w) : window(w) {}

  const char* name() const override { return "max_pool"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape;
    check(s.rank == 3 && window.fits() && s[1] == window.height * window.width,
          "max_pool: {}, expected (images, {} x {}, channels) and a window of {} that fits it", s.text(), window.height, window.width,
          window.kernel);
    return {nullptr, {s[0], window.out_height() * window.out_width(), s[2]}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { max_pool_forward(b, c.in[0], window, c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { max_pool_backward(b, c.in[0], c.out, c.dout, window, c.din[0]); });
  }
};

}  // namespace

Var max_pool(Var x, const Window& window) { return x.tape->record(MaxPool(window), {x}); }

}  // namespace stflow
