// Swin transformers (Liu et al., 2021) with the convolutional stem of CTransPath (Wang et al., 2022).
#pragma once
#include "model/resnet.h"

namespace stflow {

struct SwinConfig : ImageInput {
  struct Stage {
    int64_t depth = 0, heads = 0, window = 0;
  };
  int64_t dim = 96;            // of the first stage; each other has twice as much
  int64_t stem[2] = {12, 24};  // channels of the stem's convolutions of 3 x 3
  int64_t ratio = 4;           // width inside an MLP, in parts of the stage's
  bool patch_norm = true;
  float eps = 1e-5f;
  std::vector<Stage> stages;

  [[nodiscard]] int64_t width(size_t stage) const { return dim << stage; }
  [[nodiscard]] int64_t side(size_t stage) const { return image / (int64_t(4) << stage); }
  [[nodiscard]] int64_t features() const { return width(stages.size() - 1); }
};

/// The configuration of a canonical file: from shapes, and from metadata `eps` and what ImageInput has. Throws Exit::data.
SwinConfig read_swin_config(const Weights& file);

struct Swin {
  struct Block {
    LayerNorm norm1, norm2;
    Linear qkv, proj, fc1, fc2;
    Parameter bias;  // ((2 window - 1)^2, heads)
    int heads = 0, window = 0, shift = 0;

    Block(ParameterSet& set, const std::string& name, const SwinConfig& c, size_t stage, int64_t index);
    Var operator()(Var x) const;
  };
  struct Stage {
    LayerNorm norm;  // of four patches that become one; not in the first stage
    Linear reduction;
    std::vector<Block> blocks;
  };
  SwinConfig config;
  Convolution stem[3];
  LayerNorm patch_norm, norm;
  std::vector<Stage> stages;
  std::vector<std::string> layer_names;  // "layers.2", for error lines

  Swin(ParameterSet& set, const SwinConfig& c);
  /// Normalised pixels (images, image, image, 3) -> features (images, config.features()): the mean over the last map, normalised.
  [[nodiscard]] Var operator()(Var image) const;
};

}  // namespace stflow
