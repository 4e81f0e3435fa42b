// ResNets (He et al., 2015) as torchvision builds them, batch norms folded into the convolutions: for Ciga's encoder and the
// ImageNet baseline of HEST.
#pragma once
#include "model/layers.h"
#include "model/network_file.h"
#include "ops/window.h"

namespace stflow {

struct ResNetConfig : ImageInput {
  struct Stage {
    int64_t blocks = 0, width = 0, out = 0;  // channels inside a block and after it
  };
  int64_t stem = 64;
  bool bottleneck = false;  // 1x1, 3x3, 1x1 convolutions instead of two of 3x3
  std::vector<Stage> stages;

  [[nodiscard]] int64_t features() const { return stages.back().out; }
};

/// The configuration of a canonical file: from shapes, and from metadata what ImageInput has. Throws Exit::data.
ResNetConfig read_resnet_config(const Weights& file);

/// A square map (images, side x side, channels).
struct FeatureMap {
  Var x;
  int64_t side = 0;
};

/// Parameters `<name>.weight` (out, kernel, kernel, in) and `<name>.bias`; padding that keeps the side at stride 1.
struct Convolution {
  Parameter weight, bias;
  int64_t stride = 1;

  Convolution() = default;
  Convolution(ParameterSet& set, const std::string& name, int64_t in, int64_t out, int64_t kernel, int64_t stride_ = 1);
  FeatureMap operator()(FeatureMap m, Activation a = Activation::none) const;
};

struct ResNet {
  struct Block {
    std::vector<Convolution> convolutions;
    Convolution shortcut;
    bool projects = false;  // the shortcut is a convolution
  };
  ResNetConfig config;
  Convolution stem;
  std::vector<Block> blocks;
  std::vector<std::string> layer_names;  // "layer1.0", for error lines

  ResNet(ParameterSet& set, const ResNetConfig& c);
  /// Normalised pixels (images, image, image, 3) -> features (images, config.features()): the mean over the last map.
  [[nodiscard]] Var operator()(Var image) const;
};

}  // namespace stflow
