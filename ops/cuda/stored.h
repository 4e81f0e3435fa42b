// How a kernel's numbers lie in memory: as float, or in inference as bf16. It computes in float either way.
#pragma once
#include "engine/cuda/cuda.h"
#include "engine/tensor.h"

namespace stflow {

__device__ inline float loaded(float x) { return x; }
__device__ inline float loaded(Bfloat x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float y;
  memcpy(&y, &bits, sizeof y);
  return y;
}
__device__ inline void store(float* to, float x) { *to = x; }
__device__ inline void store(Bfloat* to, float x) { *to = to_bfloat(x); }

/// Calls f(float{}) or f(Bfloat{}): a tensor on the device is one or the other.
template <class F> void by_storage(DType t, F f) {
  if (t == DType::bf16) f(Bfloat{});
  else f(float{});
}

}  // namespace stflow
