// An Activation chosen at run time, on one number.
#pragma once
#include "engine/cuda/cuda.h"
#include "ops/activation.h"

namespace stflow {

// erfc, not 1 + erf: the left tail of gelu keeps its digits.
__device__ inline float activate(Activation kind, float x) {
  if (kind == Activation::gelu) return 0.5f * x * erfcf(-0.70710678f * x);
  if (kind == Activation::silu) return x / (1 + expf(-x));
  return kind == Activation::relu ? fmaxf(x, 0) : x;
}
__device__ inline float activation_slope(Activation kind, float x) {
  if (kind == Activation::gelu) return 0.5f * erfcf(-0.70710678f * x) + x * 0.39894228f * expf(-0.5f * x * x);
  if (kind == Activation::silu) {
    const float s = 1 / (1 + expf(-x));
    return s * (1 + x * (1 - s));
  }
  return kind == Activation::relu ? float(x > 0) : 1;
}

}  // namespace stflow
