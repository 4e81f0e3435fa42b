#include "tools/encoder/network_names.h"

#include "engine/text.h"
#include "model/network.h"

namespace stflow {

NetworkNames compare_names(const Weights& network) {
  ParameterSet set;
  const Network net(set, read_network_config(network));
  NetworkNames names;
  names.features = net.features();
  for (const Parameter& p : set.all()) {
    const StoredTensor* t = network.find(p.name);
    if (!t) {
      names.missing.push_back(p.name);
    } else if (p.name != "pos_embed" && t->shape != std::vector<int64_t>(p.shape.n, p.shape.n + p.shape.rank)) {
      names.of_other_shape.push_back(fmt::format("{} {}, expected {}", p.name, t->shape_text(), p.shape.text()));
    }
  }
  for (const StoredTensor& t : network.tensors())
    if (!set.find(t.name)) names.surplus.push_back(t.name);
  return names;
}

void check_network(const Weights& network) {
  const NetworkNames names = compare_names(network);
  std::string what;
  for (const auto& [label, list] :
       {std::pair{"missing ", &names.missing}, {"surplus ", &names.surplus}, {"of another shape ", &names.of_other_shape}})
    if (!list->empty()) what += (what.empty() ? "" : "; ") + (label + listed(*list));
  if (!what.empty()) fail(Exit::data, "{}: {}, expected exactly the tensors of this network", network.path(), what);
}

}  // namespace stflow
