#include "model/resnet.h"

#include "ops/add.h"
#include "ops/max_pool.h"
#include "ops/pool_tokens.h"
#include "ops/unfold.h"

namespace stflow {

ResNetConfig read_resnet_config(const Weights& file) {
  ResNetConfig c;
  read_image_input(file, c);
  c.stem = shape_of(file, "conv1.weight", 4)[0];
  c.bottleneck = file.find("layer1.0.conv3.weight") != nullptr;
  const char* last = c.bottleneck ? "conv3" : "conv2";
  auto name = [](size_t stage, int64_t block, const char* what) { return fmt::format("layer{}.{}.{}.weight", stage + 1, block, what); };
  for (size_t s = 0; file.find(name(s, 0, "conv1")); s++) {
    ResNetConfig::Stage stage;
    while (file.find(name(s, stage.blocks, "conv1"))) stage.blocks++;
    stage.width = shape_of(file, name(s, 0, "conv1"), 4)[0];
    stage.out = shape_of(file, name(s, 0, last), 4)[0];
    c.stages.push_back(stage);
  }
  if (c.stages.empty()) fail(Exit::data, "{}: no tensor layer1.0.conv1.weight, expected a ResNet", file.path());
  return c;
}

Convolution::Convolution(ParameterSet& set, const std::string& name, int64_t in, int64_t out, int64_t kernel, int64_t stride_)
    : weight(set.add(name + ".weight", {out, kernel, kernel, in}, Init::xavier, kernel * kernel * in)),
      bias(set.add(name + ".bias", {out}, Init::zero)),
      stride(stride_) {}

FeatureMap Convolution::operator()(FeatureMap m, Activation a) const {
  Tape& tape = *m.x.tape;
  const int64_t kernel = weight.shape[1];
  Parameter flat = weight;  // the same bytes as a matrix
  flat.shape = {weight.shape[0], kernel * kernel * weight.shape[3]};
  const Window window{m.side, m.side, kernel, stride, kernel / 2};
  if (kernel > 1 || stride > 1) m.x = unfold(m.x, window);
  return {linear(m.x, tape.param(flat), tape.param(bias), a), window.out_height()};
}

ResNet::ResNet(ParameterSet& set, const ResNetConfig& c) : config(c), stem(set, "conv1", 3, c.stem, 7, 2) {
  int64_t in = c.stem;
  for (size_t s = 0; s < c.stages.size(); s++) {
    const auto& stage = c.stages[s];
    for (int64_t i = 0; i < stage.blocks; i++, in = stage.out) {
      const int64_t stride = s > 0 && i == 0 ? 2 : 1;
      const std::string name = fmt::format("layer{}.{}", s + 1, i);
      Block b;
      if (c.bottleneck) {
        b.convolutions.emplace_back(set, name + ".conv1", in, stage.width, 1);
        b.convolutions.emplace_back(set, name + ".conv2", stage.width, stage.width, 3, stride);
        b.convolutions.emplace_back(set, name + ".conv3", stage.width, stage.out, 1);
      } else {
        b.convolutions.emplace_back(set, name + ".conv1", in, stage.width, 3, stride);
        b.convolutions.emplace_back(set, name + ".conv2", stage.width, stage.out, 3);
      }
      b.projects = stride > 1 || in != stage.out;
      if (b.projects) b.shortcut = Convolution(set, name + ".downsample", in, stage.out, 1, stride);
      layer_names.push_back(name);
      blocks.push_back(std::move(b));
    }
  }
}

Var ResNet::operator()(Var image) const {
  Tape& tape = *image.tape;
  tape.layer("conv1");
  FeatureMap m = stem({image, config.image}, Activation::relu);
  const Window window{m.side, m.side, 3, 2, 1};
  m = {max_pool(m.x, window), window.out_height()};
  for (size_t i = 0; i < blocks.size(); i++) {
    tape.layer(layer_names[i].c_str());
    const Block& b = blocks[i];
    FeatureMap y = m;
    for (const Convolution& f : b.convolutions) y = f(y, &f == &b.convolutions.back() ? Activation::none : Activation::relu);
    m = {activation(add(y.x, b.projects ? b.shortcut(m).x : m.x), Activation::relu), y.side};
  }
  return pool_tokens(m.x, 0, Pooling::mean);
}

}  // namespace stflow
