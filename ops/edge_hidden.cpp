#include "ops/edge_hidden.h"

namespace stflow {
namespace {

struct EdgeHiddenOp final : Op {
  Dropout dropout;
  explicit EdgeHiddenOp(Dropout d) : dropout(d) {}

  const char* name() const override { return "edge_hidden"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape& f = in[0].shape;
    const int64_t m = in[3].size();
    check(f.rank == 4 && f[3] == 3 && f[2] <= kEdgeFrames && 2 * m <= kEdgeWidth,
          "edge_hidden: frames {}, hidden {}, expected (n, k, F, 3), F at most {}, and at most {}", f.text(), 2 * m, kEdgeFrames,
          kEdgeWidth);
    check(in[1].shape == Shape{2 * m, 3} && in[2].shape == Shape{2 * m} && in[4].shape == Shape{m}, "edge_hidden: fc1 {}, {}, norm {}, {}",
          in[1].shape.text(), in[2].shape.text(), in[3].shape.text(), in[4].shape.text());
    return {nullptr, {f[0], f[1], m}, in[0].type};
  }
  EdgeHidden arguments(const Call& c) const { return {c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], dropout}; }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { edge_hidden_forward(b, arguments(c), c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { edge_hidden_backward(b, arguments(c), c.dout, c.din[1], c.din[2], c.din[3], c.din[4], c.scratch); });
  }
  unsigned keep() const override { return kInputs; }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    const EdgeHidden a = arguments(c);
    return backward ? size_t(a.pieces() * 10 * a.half()) * bytes_of(c.out.type) : 0;
  }
};

}  // namespace

Var edge_hidden(Var frames, Var fc1_weight, Var fc1_bias, Var norm_weight, Var norm_bias, Dropout d) {
  return frames.tape->record(EdgeHiddenOp(d), {frames, fc1_weight, fc1_bias, norm_weight, norm_bias});
}

}  // namespace stflow
