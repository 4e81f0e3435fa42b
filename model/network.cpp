#include "model/network.h"

#include <algorithm>

namespace stflow {
namespace {

using Nets = std::variant<Vit, ResNet, Swin>;

Nets built(ParameterSet& set, const NetworkConfig& c) {
  if (const auto* resnet = std::get_if<ResNetConfig>(&c)) return ResNet(set, *resnet);
  if (const auto* swin = std::get_if<SwinConfig>(&c)) return Swin(set, *swin);
  return Vit(set, std::get<VitConfig>(c));
}

int64_t widest_of(const VitConfig& c) { return (c.prefix() + c.grid()) * c.hidden * (c.swiglu ? 2 : 1); }
int64_t widest_of(const ResNetConfig& c) { return c.image * c.image / 4 * 147; }  // the first convolution's windows of 7 x 7 x 3
int64_t widest_of(const SwinConfig& c) {
  return std::max(c.image * c.image / 16 * c.ratio * c.dim, c.image * c.image / 16 * 9 * c.stem[0]);
}

}  // namespace

NetworkConfig read_network_config(const Weights& file) {
  const auto found = file.metadata().find("family");
  const std::string family = found == file.metadata().end() ? "vit" : found->second;
  if (family == "vit" || family == "conch") return read_vit_config(file);
  if (family == "resnet") return read_resnet_config(file);
  if (family == "swin") return read_swin_config(file);
  fail(Exit::data, "{}: metadata: family is '{}', expected vit, conch, resnet or swin", file.path(), family);
}

std::map<std::string, std::string> network_metadata(const NetworkConfig& c) {
  if (const auto* vit = std::get_if<VitConfig>(&c)) return vit_metadata(*vit);
  if (const auto* resnet = std::get_if<ResNetConfig>(&c)) {
    auto m = metadata_of(*resnet);
    m["family"] = "resnet", m["stages"] = std::to_string(resnet->stages.size());
    return m;
  }
  const auto& swin = std::get<SwinConfig>(c);
  auto m = metadata_of(swin);
  m["family"] = "swin", m["eps"] = fmt::format("{}", swin.eps);
  return m;
}

Network::Network(ParameterSet& set, const NetworkConfig& c) : net_(built(set, c)) {}

void Network::load(const Weights& file, const ParameterSet& set) const {
  if (const auto* vit = std::get_if<Vit>(&net_)) load_vit(file, *vit, set);
  else load_parameters(file, set, std::holds_alternative<Swin>(net_) ? "Swin" : "ResNet");
}

Var Network::operator()(Var image) const {
  return std::visit([&](const auto& net) { return net(image); }, net_);
}
NetworkConfig Network::config() const {
  return std::visit([](const auto& net) -> NetworkConfig { return net.config; }, net_);
}
const ImageInput& Network::input() const {
  return std::visit([](const auto& net) -> const ImageInput& { return net.config; }, net_);
}
int64_t Network::features() const {
  return std::visit([](const auto& net) { return net.config.features(); }, net_);
}
int64_t Network::widest() const {
  return std::visit([](const auto& net) { return widest_of(net.config); }, net_);
}

}  // namespace stflow
