// The mask of ops/dropout.h on the device: the CPU's bits.
#pragma once
#include "engine/cuda/cuda.h"
#include "ops/dropout.h"

namespace stflow {

/// A Dropout as a kernel's argument.
struct DropoutMask {
  RandomKey key;
  const KeyPlace* now;
  uint32_t place, dropped;
  float scale;

  explicit DropoutMask(const Dropout& d)
      : key(d.key), now(d.now), place(d.place), dropped(d.active() ? d.dropped() : 0), scale(d.active() ? float(d.scale()) : 1) {}
  /// The draw for elements kHalves b to kHalves (b + 1) - 1.
  __device__ Philox4 block(int64_t b) const { return key.at(now).draw(uint64_t(place) << 32 | uint32_t(b), Dropout::kRounds); }
  /// The draw's first or second four halves, lowest bits first. No index computed at run time: that would put the draw into memory.
  __device__ static uint64_t halves(const Philox4& draw, bool second) {
    return second ? uint64_t(draw.v[3]) << 32 | draw.v[2] : uint64_t(draw.v[1]) << 32 | draw.v[0];
  }
  /// What an element is multiplied by, given its half of the draw: 0 or the scale; 1 for an inactive dropout.
  __device__ float factor(uint32_t half) const { return half >= dropped ? scale : 0; }
  /// The same for element e alone, at the price of a draw.
  __device__ float operator()(int64_t e) const {
    if (dropped == 0) return scale;
    const int half = int(e % Dropout::kHalves);
    return factor(halves(block(e / Dropout::kHalves), half >= 4) >> (16 * (half % 4)) & 0xffff);
  }
};

}  // namespace stflow
