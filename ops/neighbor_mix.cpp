#include "ops/neighbor_mix.h"

namespace stflow {
namespace {

struct NeighborMixOp final : Op {
  const Graph* graph;
  Dropout dropout;
  NeighborMixOp(const Graph* g, Dropout d) : graph(g), dropout(d) {}

  const char* name() const override { return "neighbor_mix"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const int64_t n = graph->n, k = graph->k, heads = in[0].shape[2];
    check(in[0].shape == Shape{n, k, heads} && in[1].shape == Shape{n, in[1].cols()} && in[2].shape == Shape{n, k, in[2].cols()} &&
              in[1].cols() % heads == 0 && in[2].cols() % heads == 0,
          "neighbor_mix: score {}, value {}, edge {} on {} spots", in[0].shape.text(), in[1].shape.text(), in[2].shape.text(), n);
    check(k * heads <= kNeighborMixMost, "neighbor_mix: {} neighbours x {} heads, expected at most {}", k, heads, kNeighborMixMost);
    return {nullptr, {n, in[1].cols() + in[2].cols()}, in[1].type};
  }
  NeighborMix arguments(const Call& c) const { return {c.in[0], c.in[1], c.in[2], graph, dropout}; }
  Tensor weights(const Call& c) const { return {c.saved, c.in[0].shape, c.out.type}; }
  Tensor kept(const Call& c) const {
    return {c.saved ? static_cast<char*>(c.saved) + saved_bytes(c) / 2 : nullptr, c.in[0].shape, c.out.type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { neighbor_mix_forward(b, arguments(c), weights(c), kept(c), c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { neighbor_mix_backward(b, arguments(c), weights(c), kept(c), c.dout, c.din[0], c.din[1], c.din[2]); });
  }
  unsigned keep() const override { return kInputs; }
  size_t saved_bytes(const Call& c) const override { return 2 * aligned(size_t(c.in[0].size()) * bytes_of(c.out.type)); }
};

}  // namespace

Var neighbor_mix(Var score, Var value, Var edge, const Graph& graph, Dropout d) {
  return value.tape->record(NeighborMixOp(&graph, d), {score, value, edge});
}

}  // namespace stflow
