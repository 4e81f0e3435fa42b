// The one vision transformer: pre-norm, with the switches that the published pathology encoders differ in. Parameter names
// are timm's, so a checkpoint in timm's form is a safetensors file away.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "model/attention_pool.h"
#include "model/network_file.h"
#include "model/position.h"
#include "ops/pool_tokens.h"

namespace stflow {

struct VitConfig : ImageInput {
  int64_t patch = 16;  // pixels; square
  int64_t dim = 768, depth = 12, heads = 12;
  int64_t hidden = 3072;  // width inside the MLP (with SwiGLU: after the gate)
  bool swiglu = false;    // timm's SwiGLUPacked: fc1 gives 2 hidden, silu(first half) * second half
  bool layer_scale = false;
  int64_t registers = 0;
  int64_t placed = 1;  // prefix tokens that have a position embedding: 0 is timm's no_embed_class
  float eps = 1e-6f;   // of every layer norm
  Pooling pooling = Pooling::cls;
  PositionRule positions = PositionRule::antialias;  // where the image size differs from the checkpoint's
  int64_t pool_dim = 0, pool_heads = 0;              // of an attention pooler, which then stands for `pooling`; 0: none
  bool pool_bias = false;

  [[nodiscard]] int64_t side() const { return image / patch; }
  [[nodiscard]] int64_t grid() const { return side() * side(); }
  [[nodiscard]] int64_t prefix() const { return 1 + registers; }
  /// Whether the last block's class token is all that the features are made of.
  [[nodiscard]] bool class_token_alone() const { return !pool_dim && pooling == Pooling::cls && depth > 0; }
  [[nodiscard]] int64_t features() const { return pool_dim ? pool_dim : pooled_size(pooling, dim); }
};

/// Reads the configuration of a checkpoint with canonical names: sizes and switches from the shapes of its tensors; `num_heads`, with an
/// attention pooler `pool_heads`, and where given `image_size`, `pooling` (cls, mean, cls_mean), `eps`, `mean`, `std` ("r,g,b"),
/// `positions` (a PositionRule) and `no_embed_class` (true, false), from its metadata. Throws Exit::data for what the file leaves open or
/// contradicts.
VitConfig read_vit_config(const Weights& file);
/// The metadata that read_vit_config() reads back.
std::map<std::string, std::string> vit_metadata(const VitConfig& c);

/// One transformer block: x + ls1 attn(norm1 x), then x + ls2 mlp(norm2 x).
struct VitBlock {
  LayerNorm norm1, norm2;
  Linear qkv, proj, fc1, fc2;
  Parameter ls1, ls2;
  int heads = 0;
  bool swiglu = false, layer_scale = false;

  VitBlock(ParameterSet& set, const std::string& name, int64_t dim, int64_t heads, int64_t hidden, bool swiglu, bool layer_scale,
           float eps);
  /// Tokens (images, tokens, dim) -> as many.
  [[nodiscard]] Var operator()(Var x) const;
  /// Likewise -> the class token alone (images, dim), the first of them: the others give keys and values and are not computed.
  [[nodiscard]] Var class_token(Var x) const;

 private:
  [[nodiscard]] Var after_attention(Var x, Var attended) const;
};

struct Vit {
  VitConfig config;
  Parameter proj_weight, proj_bias;           // patch_embed.proj, a convolution's (dim, 3, patch, patch)
  Parameter cls_token, reg_token, pos_embed;  // (1, 1, dim), (1, registers, dim), (1, placed + grid, dim)
  std::vector<VitBlock> blocks;
  LayerNorm norm;
  AttentionPool attention_pool;          // if config.pool_dim
  std::vector<std::string> layer_names;  // "blocks.3", for error lines

  Vit(ParameterSet& set, const VitConfig& c);

  /// Patches (images, n, 3 patch^2) as patchify() makes them -> normalised tokens (images, prefix + n, dim). `cells`: see
  /// assemble_tokens().
  [[nodiscard]] Var tokens(Var patches, Var cells = {}) const;
  /// Normalised pixels (images, image, image, 3) -> features (images, config.features()).
  [[nodiscard]] Var operator()(Var image) const;

 private:
  /// The tokens that a block reads, or the last one has written.
  [[nodiscard]] Var before(size_t block, Var patches, Var cells) const;
};

/// Fills a Vit's parameters but for packed ones (allocated, of the configuration read_vit_config() gives but for the image size) from a
/// checkpoint; position embeddings of another grid are resampled. Throws Exit::data naming every missing and every surplus tensor.
void load_vit(const Weights& file, const Vit& vit, const ParameterSet& set);

}  // namespace stflow
