#include "model/vit.h"

#include "ops/assemble_tokens.h"
#include "ops/attention.h"
#include "ops/patchify.h"
#include "ops/scale_add.h"
#include "ops/swiglu.h"

namespace stflow {

VitBlock::VitBlock(ParameterSet& set, const std::string& name, int64_t dim, int64_t heads_, int64_t hidden, bool swiglu_, bool layer_scale_,
                   float eps)
    : norm1(set, name + ".norm1", dim, eps),
      norm2(set, name + ".norm2", dim, eps),
      qkv(set, name + ".attn.qkv", dim, 3 * dim, Init::xavier),
      proj(set, name + ".attn.proj", dim, dim, Init::xavier),
      fc1(set, name + ".mlp.fc1", dim, swiglu_ ? 2 * hidden : hidden, Init::xavier),
      fc2(set, name + ".mlp.fc2", hidden, dim, Init::xavier),
      heads(int(heads_)),
      swiglu(swiglu_),
      layer_scale(layer_scale_) {
  if (!layer_scale) return;
  ls1 = set.add(name + ".ls1.gamma", {dim}, Init::one);
  ls2 = set.add(name + ".ls2.gamma", {dim}, Init::one);
}

Var VitBlock::operator()(Var x) const { return after_attention(x, attention(qkv(norm1(x)), heads)); }

Var VitBlock::class_token(Var x) const {
  const auto first = [](Var tokens) { return pool_tokens(tokens, 1, Pooling::cls); };
  return after_attention(first(x), first(attention(qkv(norm1(x)), heads, 1)));
}

Var VitBlock::after_attention(Var x, Var attended) const {
  Tape& tape = *x.tape;
  auto scale = [&](const Parameter& p) { return layer_scale ? tape.param(p) : Var{}; };
  x = scale_add(x, proj(attended), scale(ls1));
  Var h = norm2(x);
  h = swiglu ? stflow::swiglu(fc1(h)) : fc1(h, Activation::gelu);
  return scale_add(x, fc2(h), scale(ls2));
}

Vit::Vit(ParameterSet& set, const VitConfig& c)
    : config(c),
      proj_weight(set.matrix("patch_embed.proj.weight", {c.dim, 3, c.patch, c.patch}, Init::xavier, 3 * c.patch * c.patch)),
      proj_bias(set.add("patch_embed.proj.bias", {c.dim}, Init::zero)),
      cls_token(set.add("cls_token", {1, 1, c.dim}, Init::trunc_normal)) {
  if (c.registers) reg_token = set.add("reg_token", {1, c.registers, c.dim}, Init::trunc_normal);
  pos_embed = set.add("pos_embed", {1, c.placed + c.grid(), c.dim}, Init::trunc_normal);
  for (int64_t i = 0; i < c.depth; i++) {
    layer_names.push_back(fmt::format("blocks.{}", i));
    blocks.emplace_back(set, layer_names.back(), c.dim, c.heads, c.hidden, c.swiglu, c.layer_scale, c.eps);
  }
  norm = LayerNorm(set, "norm", c.dim, c.eps);
  if (c.pool_dim) attention_pool = AttentionPool(set, "attn_pool", c.pool_dim, c.dim, c.pool_heads, c.pool_bias);
}

Var Vit::before(size_t block, Var patches, Var cells) const {
  Tape& tape = *patches.tape;
  Parameter flat = proj_weight;  // the same bytes as a matrix
  flat.shape = {config.dim, 3 * config.patch * config.patch};
  tape.layer("patch_embed");
  Var x = linear(patches, tape.param(flat), tape.param(proj_bias));
  x = assemble_tokens(x, tape.param(cls_token), config.registers ? tape.param(reg_token) : Var{}, tape.param(pos_embed), cells,
                      config.grid());
  for (size_t i = 0; i < block; i++) {
    tape.layer(layer_names[i].c_str());
    x = blocks[i](x);
  }
  return x;
}

Var Vit::tokens(Var patches, Var cells) const {
  const Var x = before(blocks.size(), patches, cells);
  x.tape->layer("norm");
  return norm(x);
}

Var Vit::operator()(Var image) const {
  const Var patches = patchify(image, int(config.patch));
  Tape& tape = *image.tape;
  if (config.class_token_alone()) {
    const Var x = before(blocks.size() - 1, patches, {});
    tape.layer(layer_names.back().c_str());
    const Var token = blocks.back().class_token(x);
    tape.layer("norm");
    return norm(token);
  }
  const Var all = tokens(patches);
  if (!config.pool_dim) return pool_tokens(all, config.prefix(), config.pooling);
  tape.layer("attn_pool");
  return pool_tokens(attention_pool(all), 1, Pooling::cls);
}

}  // namespace stflow
