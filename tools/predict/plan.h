// What a prediction will take, before it is begun: memory of what is held, and the tiles for which the rest has room.
#pragma once
#include <cstdint>
#include <string>

#include "model/predictor.h"

namespace stflow {

struct PredictionPlan {
  int64_t spots = 0;
  size_t limit = 0;        // bytes of memory that may be used; 0: no limit
  size_t held = 0;         // bytes while tiles are computed: places, lists of neighbours, results
  size_t per_spot = 0;     // bytes of a tile's spot
  int64_t most_spots = 0;  // of a tile; 0: the whole slide at once
};

/// `n` spots predicted by `model` within `limit` bytes (0: none is set; tiles are then made where they would take more than 1 GB), of which
/// this process has `used` by now. Features are not counted: a FeatureStore has them. Throws Exit::memory, naming the least that would do.
PredictionPlan plan_prediction(const Predictor& model, int64_t n, const PredictOptions& options, size_t limit, size_t used);

/// "1000000 spots in tiles of at most 40000; 0.9 GB held, 0.6 GB for a tile".
std::string text_of(const PredictionPlan& plan);

}  // namespace stflow
