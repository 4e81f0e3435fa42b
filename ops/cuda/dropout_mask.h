// The mask of ops/dropout.h on the device: the CPU's bits.
#pragma once
#include "engine/cuda/cuda.h"
#include "ops/dropout.h"

namespace stflow {

/// A Dropout as a kernel's argument.
struct DropoutMask {
  RandomKey key;
  uint32_t place, dropped;
  float scale;

  explicit DropoutMask(const Dropout& d)
      : key(d.key), place(d.place), dropped(d.active() ? d.dropped() : 0), scale(d.active() ? float(d.scale()) : 1) {}
  /// What element e is multiplied by: 0 or the scale; 1 for an inactive dropout.
  __device__ float operator()(int64_t e) const {
    if (dropped == 0) return scale;
    const Philox4 draw = key.draw(uint64_t(place) << 32 | uint32_t(e / Dropout::kHalves), Dropout::kRounds);
    const int half = int(e % Dropout::kHalves);
    return (draw.v[half / 2] >> (16 * (half % 2)) & 0xffff) >= dropped ? scale : 0;
  }
};

}  // namespace stflow
