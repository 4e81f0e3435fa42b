#include "ops/edge_score.h"

namespace stflow {
namespace {

struct EdgeScoreOp final : Op {
  const Graph* graph;
  Dropout dropout;
  EdgeScoreOp(const Graph* g, Dropout d) : graph(g), dropout(d) {}

  const char* name() const override { return "edge_score"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape &q = in[0].shape, &e = in[3].shape;
    const int64_t n = graph->n, k = graph->k, m2 = q[-1], heads = q[1], width = in[4].shape[-1];
    check(q == Shape{n, heads, m2} && in[1].shape == q && in[2].shape == Shape{n, m2} && m2 <= kScoreWidth,
          "edge_score: query {}, key {}, gene {} on {} spots, expected (n, H, 2m <= {})", q.text(), in[1].shape.text(), in[2].shape.text(),
          n, kScoreWidth);
    check(e == Shape{n, k, heads * width} && in[4].shape == Shape{m2, width},
          "edge_score: edge {}, weight {}, expected (n, k, H D), (2m, D)", e.text(), in[4].shape.text());
    check(width <= kScoreWidth && m2 * width <= kScoreWeight, "edge_score: weight {}, expected D <= {} and at most {} numbers",
          in[4].shape.text(), kScoreWidth, kScoreWeight);
    check(in[5].size() == m2 / 2 && in[6].size() == m2 / 2 && in[7].size() == m2 / 2 && in[8].size() == 1,
          "edge_score: norm or fc2 of the wrong size");
    return {nullptr, {n, k, heads}, in[0].type};
  }
  EdgeScore arguments(const Call& c) const {
    return {c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], c.in[5], c.in[6], c.in[7], c.in[8], graph, dropout};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { edge_score_forward(b, arguments(c), c.out); });
  }
  void backward(const Call& c) const override {
    const EdgeScoreGrads d{c.din[0], c.din[1], c.din[2], c.din[3], c.din[4], c.din[5], c.din[6], c.din[7], c.din[8]};
    on(c.context, [&](auto b) { edge_score_backward(b, arguments(c), c.dout, d, c.scratch); });
  }
  unsigned keep() const override { return kInputs; }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    const EdgeScore a = arguments(c);
    const int64_t numbers =
        c.context.device == Device::cuda ? a.cuda_pieces() * a.cuda_partial() : a.rows() * 2 * a.half() + a.pieces() * a.partial();
    return backward ? size_t(numbers) * bytes_of(c.out.type) : 0;
  }
};

}  // namespace

Var edge_score(Var query, Var key, Var gene, Var edge, Var edge_weight, Var norm_weight, Var norm_bias, Var fc2_weight, Var fc2_bias,
               const Graph& graph, Dropout d) {
  return query.tape->record(EdgeScoreOp(&graph, d), {query, key, gene, edge, edge_weight, norm_weight, norm_bias, fc2_weight, fc2_bias});
}

}  // namespace stflow
