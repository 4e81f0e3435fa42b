// Position embeddings for a grid of another size, as each library resamples them.
#pragma once
#include <cstdint>
#include <vector>

#include "model/presets.h"

namespace stflow {

/// Position embeddings (1, prefix + from_side^2, dim) for a grid of another side; the first `prefix` rows are kept.
std::vector<float> resample_position(const std::vector<float>& from, int64_t prefix, int64_t from_side, int64_t to_side, int64_t dim,
                                     PositionRule rule = PositionRule::antialias);

}  // namespace stflow
