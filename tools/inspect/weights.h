// What a file of weights is.
#pragma once
#include <string>

namespace stflow {

struct WeightsInspection {
  std::string part, preset;         // --part, --preset
  bool list = false, hash = false;  // --tensors, --sha256
};

/// Prints it. `in`: a file, a folder or the name of a downloaded encoder. Throws as open_weights() does.
void inspect_weights(const std::string& in, const WeightsInspection& wish);

}  // namespace stflow
