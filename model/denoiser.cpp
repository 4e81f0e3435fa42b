#include "model/denoiser.h"

#include "ops/activation.h"
#include "ops/add.h"
#include "ops/columns.h"
#include "ops/edge_hidden.h"
#include "ops/edge_mlp.h"
#include "ops/edge_score.h"
#include "ops/gated_norm.h"
#include "ops/mean.h"
#include "ops/neighbor_mix.h"
#include "ops/timestep.h"

namespace stflow {
namespace {

constexpr int64_t kTimeChannels = 256;
constexpr float kEps = 1e-5f;

Var dropped(Var x, const Dropout& d) { return d.active() ? dropout(x, d) : x; }

}  // namespace

GatedMlp::GatedMlp(ParameterSet& set, const std::string& name, int64_t in, int64_t packed, int64_t out)
    : fc1(set, name + ".fc1", in, packed), norm(set, name + ".norm", packed / 2, kEps), fc2(set, name + ".fc2", packed / 2, out) {}

Var GatedMlp::operator()(Var x, Dropouts& dropouts, float p) const {
  Tape& t = *x.tape;
  Var h = gated_norm(fc1(x), t.param(norm.weight), t.param(norm.bias), norm.eps, dropouts(p));
  return dropped(fc2(h), dropouts(p));
}

void check_sizes(const DenoiserConfig& c) {
  if (c.features < 1 || c.genes < 1 || c.layers < 1 || c.layers > kMaxInputs || c.heads < 1 || c.hidden % c.heads || c.pairwise % c.heads ||
      c.hidden % 2 || c.pairwise % 2)
    fail(Exit::usage,
         "denoiser: features {}, genes {}, layers {}, heads {}, hidden {}, pairwise {}, expected 1 to {} layers and even widths that heads "
         "divide",
         c.features, c.genes, c.layers, c.heads, c.hidden, c.pairwise, kMaxInputs);
  if (c.hidden > kScoreWidth || c.pairwise > kEdgeWidth)
    fail(Exit::usage, "denoiser: hidden {}, pairwise {}, expected at most {} and {}", c.hidden, c.pairwise, kScoreWidth, kEdgeWidth);
  if (c.hidden * (c.pairwise / c.heads) > kScoreWeight)
    fail(Exit::usage, "denoiser: hidden {} x pairwise {} / heads {}, expected at most {}; more heads make it smaller", c.hidden, c.pairwise,
         c.heads, kScoreWeight);
}

Denoiser::Denoiser(ParameterSet& set, const DenoiserConfig& c) : config_(c) {
  check_sizes(c);
  const int64_t d = c.hidden, e = c.pairwise;
  image_ = Linear(set, "image_transform", c.features, d);
  time_in_ = Linear(set, "fourier_proj.mlp.0", kTimeChannels, d);
  time_out_ = Linear(set, "fourier_proj.mlp.2", d, d);
  for (int64_t l = 0; l < c.layers; l++) {
    SpatialBlock b;
    b.name = "backbone.blks." + std::to_string(l);
    const std::string a = b.name + ".attn.", g = b.name + ".gene_updater.output.";
    b.qkv_norm = LayerNorm(set, a + "layernorm_qkv.0", d, kEps);
    b.qkv = Linear(set, a + "layernorm_qkv.1", d, 3 * d);
    b.score = GatedMlp(set, a + "mlp_attn", 2 * (d / c.heads) + e / c.heads + c.genes, d, 1);
    b.edge = GatedMlp(set, a + "edge_trans", 3, e, e);
    b.output = GatedMlp(set, a + "W_output", d + e, d, d);
    b.mlp = GatedMlp(set, b.name + ".mlp", d, 4 * d, d);
    b.gene_in = Linear(set, g + "0", d, d);
    b.gene_norm = LayerNorm(set, g + "2", d, kEps);
    b.gene_out = Linear(set, g + "4", d, c.genes);
    blocks_.push_back(b);
  }
}

Denoiser::Slide Denoiser::slide(Var features, Var frames, Dropouts& dropouts) const {
  Tape& t = *features.tape;
  t.layer("image_transform");
  Slide s{image_(features), {}};
  for (const SpatialBlock& b : blocks_) {
    t.layer(b.name.c_str());
    const GatedMlp& m = b.edge;
    const Dropout inner = dropouts(config_.dropout), outer = dropouts(config_.dropout);
    const Var fc1 = t.param(m.fc1.weight), fc1_bias = t.param(m.fc1.bias), norm = t.param(m.norm.weight), norm_bias = t.param(m.norm.bias);
    // The output's dropout is drawn per frame, so in training fc2 runs on every frame; otherwise once, on their mean.
    s.edges.push_back(outer.active()
                          ? edge_mlp(frames, fc1, fc1_bias, norm, norm_bias, t.param(m.fc2.weight), t.param(m.fc2.bias), inner, outer)
                          : m.fc2(edge_hidden(frames, fc1, fc1_bias, norm, norm_bias, inner)));
  }
  return s;
}

Var Denoiser::attention(const SpatialBlock& b, Var tokens, Var genes, Var edges, const Graph& graph, Dropouts& dropouts,
                        Output& out) const {
  Tape& t = *tokens.tape;
  const DenoiserConfig& c = config_;
  const int64_t n = tokens.shape()[0], d = c.hidden, head = d / c.heads, edge_head = c.pairwise / c.heads, packed = d;
  Var qkv = b.qkv(b.qkv_norm(tokens));
  Var q = columns(qkv, 0, d, {n, c.heads, head}), k = columns(qkv, d, d, {n, c.heads, head}), v = columns(qkv, 2 * d, d, {n, d});

  // The first layer of the score MLP, cut by what each part multiplies (STFLOW.md 16).
  Var w = t.param(b.score.fc1.weight);
  Var wq = columns(w, 0, head, {packed, head}), wk = columns(w, head, head, {packed, head});
  Var we = columns(w, 2 * head, edge_head, {packed, edge_head}), wg = columns(w, 2 * head + edge_head, c.genes, {packed, c.genes});
  Var query = linear(q, wq, t.param(b.score.fc1.bias)), key = linear(k, wk, {}), gene = linear(genes, wg, {});
  Var score = edge_score(query, key, gene, edges, we, t.param(b.score.norm.weight), t.param(b.score.norm.bias), t.param(b.score.fc2.weight),
                         t.param(b.score.fc2.bias), graph, dropouts(c.dropout));
  out.scores.push_back(score);
  Var mixed = neighbor_mix(dropped(score, dropouts(c.dropout)), v, edges, graph, dropouts(c.attention_dropout));
  return b.output(mixed, dropouts, c.dropout);
}

Denoiser::Output Denoiser::step(Var genes, Var time, const Slide& slide, const Graph& graph, Dropouts& dropouts) const {
  Tape& t = *genes.tape;
  Output out;
  t.layer("fourier_proj");
  out.time = time_out_(time_in_(timestep(time, kTimeChannels), Activation::silu));
  Var h = add_row(slide.tokens, out.time);
  for (size_t l = 0; l < blocks_.size(); l++) {
    const SpatialBlock& b = blocks_[l];
    t.layer(b.name.c_str());
    Var a = attention(b, h, l ? out.genes.back() : genes, slide.edges[l], graph, dropouts, out);
    out.attention.push_back(a);
    h = add(h, a);
    h = add(h, b.mlp(h, dropouts, config_.dropout));
    out.tokens.push_back(h);
    Var g = dropped(b.gene_norm(b.gene_in(h, Activation::gelu)), dropouts(config_.dropout));
    g = dropped(b.gene_out(g), dropouts(config_.dropout));
    if (config_.gene_relu) g = activation(g, Activation::relu);
    out.genes.push_back(g);
  }
  t.layer("backbone");
  out.prediction = mean(out.genes);
  return out;
}

}  // namespace stflow
