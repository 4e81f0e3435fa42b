#include "model/swin.h"

#include "ops/add.h"
#include "ops/pool_tokens.h"
#include "ops/unfold.h"
#include "ops/window_attention.h"

namespace stflow {

SwinConfig read_swin_config(const Weights& file) {
  SwinConfig c;
  read_image_input(file, c);
  read_eps(file, c.eps);
  for (size_t i : {0, 1}) c.stem[i] = shape_of(file, fmt::format("patch_embed.proj.{}.weight", i), 4)[0];
  c.dim = shape_of(file, "patch_embed.proj.2.weight", 4)[0];
  c.patch_norm = file.find("patch_embed.norm.weight") != nullptr;
  auto block = [](size_t stage, int64_t i) { return fmt::format("layers.{}.blocks.{}.", stage, i); };
  for (size_t s = 0; file.find(block(s, 0) + "norm1.weight"); s++) {
    SwinConfig::Stage stage;
    while (file.find(block(s, stage.depth) + "norm1.weight")) stage.depth++;
    const std::string name = block(s, 0) + "attn.relative_position_bias_table";
    const auto table = shape_of(file, name, 2);
    const int64_t offsets = square_root(table[0]);
    if (offsets % 2 != 1) fail(Exit::data, "{}: {}: {} rows, expected the square of 2 window - 1", file.path(), name, table[0]);
    stage.window = (offsets + 1) / 2, stage.heads = table[1];
    c.stages.push_back(stage);
    if (c.image % (int64_t(4) << s) || c.side(s) % stage.window || c.width(s) % stage.heads)
      fail(Exit::data, "{}: stage {}: windows of {} and {} heads for images of {} and a width of {}, expected divisors", file.path(), s,
           stage.window, stage.heads, c.image, c.width(s));
  }
  if (c.stages.empty()) fail(Exit::data, "{}: no tensor layers.0.blocks.0.norm1.weight, expected a Swin", file.path());
  const int64_t hidden = shape_of(file, block(0, 0) + "mlp.fc1.weight", 2)[0];
  if (hidden % c.dim) fail(Exit::data, "{}: {}mlp: {} wide, expected a multiple of {}", file.path(), block(0, 0), hidden, c.dim);
  c.ratio = hidden / c.dim;
  return c;
}

Swin::Block::Block(ParameterSet& set, const std::string& name, const SwinConfig& c, size_t stage, int64_t index)
    : norm1(set, name + ".norm1", c.width(stage), c.eps),
      norm2(set, name + ".norm2", c.width(stage), c.eps),
      qkv(set, name + ".attn.qkv", c.width(stage), 3 * c.width(stage), Init::xavier),
      proj(set, name + ".attn.proj", c.width(stage), c.width(stage), Init::xavier),
      fc1(set, name + ".mlp.fc1", c.width(stage), c.ratio * c.width(stage), Init::xavier),
      fc2(set, name + ".mlp.fc2", c.ratio * c.width(stage), c.width(stage), Init::xavier),
      heads(int(c.stages[stage].heads)),
      window(int(c.stages[stage].window)),
      shift(index % 2 && c.side(stage) > window ? window / 2 : 0) {
  const int64_t offsets = 2 * window - 1;
  bias = set.add(name + ".attn.relative_position_bias_table", {offsets * offsets, heads}, Init::trunc_normal);
}

Var Swin::Block::operator()(Var x) const {
  x = add(x, proj(window_attention(qkv(norm1(x)), x.tape->param(bias), heads, window, shift)));
  return add(x, fc2(fc1(norm2(x), Activation::gelu)));
}

Swin::Swin(ParameterSet& set, const SwinConfig& c) : config(c) {
  stem[0] = Convolution(set, "patch_embed.proj.0", 3, c.stem[0], 3, 2);
  stem[1] = Convolution(set, "patch_embed.proj.1", c.stem[0], c.stem[1], 3, 2);
  stem[2] = Convolution(set, "patch_embed.proj.2", c.stem[1], c.dim, 1);
  if (c.patch_norm) patch_norm = LayerNorm(set, "patch_embed.norm", c.dim, c.eps);
  for (size_t s = 0; s < c.stages.size(); s++) {
    layer_names.push_back(fmt::format("layers.{}", s));
    const std::string& name = layer_names.back();
    Stage stage;
    if (s > 0) {
      stage.norm = LayerNorm(set, name + ".downsample.norm", 4 * c.width(s - 1), c.eps);
      stage.reduction = Linear(set, name + ".downsample.reduction", 4 * c.width(s - 1), c.width(s), Init::xavier, false);
    }
    for (int64_t i = 0; i < c.stages[s].depth; i++) stage.blocks.emplace_back(set, fmt::format("{}.blocks.{}", name, i), c, s, i);
    stages.push_back(std::move(stage));
  }
  norm = LayerNorm(set, "norm", c.features(), c.eps);
}

Var Swin::operator()(Var image) const {
  Tape& tape = *image.tape;
  tape.layer("patch_embed");
  Var x = stem[2](stem[1](stem[0]({image, config.image}, Activation::relu), Activation::relu)).x;
  if (config.patch_norm) x = patch_norm(x);
  for (size_t s = 0; s < stages.size(); s++) {
    tape.layer(layer_names[s].c_str());
    const int64_t before = 2 * config.side(s);
    if (s > 0) x = stages[s].reduction(stages[s].norm(unfold(x, {before, before, 2, 2, 0})));
    for (const Block& b : stages[s].blocks) x = b(x);
  }
  tape.layer("norm");
  return pool_tokens(norm(x), 0, Pooling::mean);
}

}  // namespace stflow
