#include "ops/edge_mlp.h"

#include "ops/gemm.h"

namespace stflow {
namespace {

struct EdgeMlpOp final : Op {
  Dropout inner, outer;
  EdgeMlpOp(Dropout i, Dropout o) : inner(i), outer(o) {}

  const char* name() const override { return "edge_mlp"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape& f = in[0].shape;
    const int64_t m = in[3].size(), e = in[6].size();
    check(f.rank == 4 && f[3] == 3 && f[2] <= kEdgeFrames && 2 * m <= kEdgeWidth && e <= kEdgeWidth,
          "edge_mlp: frames {}, hidden {}, output {}, expected (n, k, F, 3), F at most {}, and at most {}", f.text(), 2 * m, e, kEdgeFrames,
          kEdgeWidth);
    check(in[1].shape == Shape{2 * m, 3} && in[2].shape == Shape{2 * m} && in[4].shape == Shape{m} && in[5].shape == Shape{e, m},
          "edge_mlp: fc1 {}, {}, norm {}, {}, fc2 {}, {}", in[1].shape.text(), in[2].shape.text(), in[3].shape.text(), in[4].shape.text(),
          in[5].shape.text(), in[6].shape.text());
    return {nullptr, {f[0], f[1], e}, in[0].type};
  }
  EdgeMlp arguments(const Call& c) const { return {{c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], inner}, c.in[5], c.in[6], outer}; }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { edge_mlp_forward(b, arguments(c), c.out, c.scratch); });
  }
  void backward(const Call& c) const override {
    const EdgeMlpGrads d{c.din[1], c.din[2], c.din[3], c.din[4], c.din[5], c.din[6]};
    on(c.context, [&](auto b) { edge_mlp_backward(b, arguments(c), c.dout, d, c.scratch); });
  }
  unsigned keep() const override { return kInputs; }
  size_t scratch_bytes(const Call& c, bool backward) const override { return edge_mlp_scratch(c.context.device, arguments(c), backward); }
};

}  // namespace

// The packed weight (in backward its transpose), then for each piece the rows of a group (hidden and output; in backward both gradients,
// the hidden rows and these packed) and the sums.
size_t edge_mlp_scratch(Device device, const EdgeMlp& a, bool backward) {
  if (device == Device::cuda) {  // the rows of a group: hidden and output; in backward the hidden rows' gradient too, and the partial sums
    const int64_t m = a.half(), e = a.outputs(), rows = kCudaEdges * a.frames(), sums = 10 * m > e ? 10 * m : e;
    return size_t(backward ? rows * (2 * m + e) + kCudaEdgePieces * sums : rows * (m + e)) * bytes_of(a.fc2_weight.type);
  }
  const int64_t packed = backward ? packed_elements(a.half(), a.outputs()) : packed_elements(a.outputs(), a.half());
  const int64_t piece = backward ? 4 * kEdgeGroup + a.partial() : 2 * kEdgeGroup;
  const size_t number = bytes_of(a.fc2_weight.type);
  return aligned(size_t(packed) * number) + size_t(a.pieces() * piece) * number;
}

Var edge_mlp(Var frames, Var fc1_weight, Var fc1_bias, Var norm_weight, Var norm_bias, Var fc2_weight, Var fc2_bias, Dropout inner,
             Dropout outer) {
  return frames.tape->record(EdgeMlpOp(inner, outer), {frames, fc1_weight, fc1_bias, norm_weight, norm_bias, fc2_weight, fc2_bias});
}

}  // namespace stflow
