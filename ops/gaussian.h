// The Gaussian prior: N(0, 1) by Box and Muller, keyed like the draws of ops/zinb.h.
#pragma once
#include <cmath>

#include "engine/device.h"
#include "engine/random.h"
#include "engine/tensor.h"

namespace stflow {

/// The draw for the spot of canonical rank `spot` (< 2^32) and `gene` (< 2^24): a pure function of its arguments.
STFLOW_BOTH inline double draw_gaussian(const RandomKey& key, uint32_t spot, uint32_t gene) {
  const Philox4 r = key.draw((uint64_t(spot) << 24) | gene);
  return std::sqrt(-2 * std::log(open01(r.v[0], r.v[1]))) * std::cos(6.283185307179586 * open01(r.v[2], r.v[3]));
}

/// out (n, G) f32 or f64 = a draw for each spot, of canonical rank (n) i32, and gene. On a device all tensors are in its memory, out is
/// f32 and nothing waits; its log and cos may differ from the host's in the last bit of float64. There the key may be at the place `now` of
/// its memory.
void sample_gaussian(const Context& context, const Tensor& rank, const RandomKey& key, const Tensor& out, const KeyPlace* now = nullptr);
/// What it does on a device.
void gaussian_draws(Cuda on, const Tensor& rank, const RandomKey& key, const Tensor& out, const KeyPlace* now);

}  // namespace stflow
