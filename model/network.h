// The network of an image encoder, of whichever family.
#pragma once
#include <variant>

#include "model/swin.h"
#include "model/vit.h"

namespace stflow {

using NetworkConfig = std::variant<VitConfig, ResNetConfig, SwinConfig>;

/// The configuration of a canonical file (model/key_maps.h), by the `family` of its metadata; without one it is a ViT's. Throws Exit::data.
NetworkConfig read_network_config(const Weights& file);
/// What of the metadata the features depend on.
std::map<std::string, std::string> network_metadata(const NetworkConfig& c);

class Network {
 public:
  Network(ParameterSet& set, const NetworkConfig& c);

  /// Fills the parameters but for packed ones (allocated, of the configuration that the file has). Throws Exit::data naming what does not
  /// fit.
  void load(const Weights& file, const ParameterSet& set) const;
  /// Normalised pixels (images, image, image, 3) -> features (images, features()).
  [[nodiscard]] Var operator()(Var image) const;

  [[nodiscard]] NetworkConfig config() const;
  [[nodiscard]] const ImageInput& input() const;
  [[nodiscard]] int64_t features() const;
  /// Numbers of the widest activation of an image, which decides how many images fit the cache together.
  [[nodiscard]] int64_t widest() const;

 private:
  std::variant<Vit, ResNet, Swin> net_;
};

}  // namespace stflow
