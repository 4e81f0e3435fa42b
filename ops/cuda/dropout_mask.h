// The mask of ops/dropout.h on the device: the CPU's bits.
#pragma once
#include "engine/cuda/cuda.h"
#include "ops/dropout.h"

namespace stflow {

/// What element e is multiplied by: 0 or `scale`. `dropped` and `scale` are the Dropout's, computed on the host.
__device__ inline float dropout_factor(RandomKey key, uint32_t place, uint32_t dropped, float scale, int64_t e) {
  const Philox4 draw = key.draw(uint64_t(place) << 32 | uint32_t(e / Dropout::kHalves), Dropout::kRounds);
  const int half = int(e % Dropout::kHalves);
  return (draw.v[half / 2] >> (16 * (half % 2)) & 0xffff) >= dropped ? scale : 0;
}

}  // namespace stflow
