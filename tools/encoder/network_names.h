// Whether an encoder can be made of weights: their tensors compared with those that the network has.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/weights.h"

namespace stflow {

struct NetworkNames {
  int64_t features = 0;                     // per patch
  std::vector<std::string> missing;         // the network has them, the file has not
  std::vector<std::string> surplus;         // the other way round
  std::vector<std::string> of_other_shape;  // "norm.weight (3), expected (4)"; position embeddings may be of any grid
};

/// Of canonical weights (model/key_maps.h). Throws Exit::data where no network is told.
NetworkNames compare_names(const Weights& network);

/// Throws Exit::data naming what is missing, surplus or of another shape.
void check_network(const Weights& network);

}  // namespace stflow
