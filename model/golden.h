// Golden files: every quantity that the reference computes on one small slide, recomputed with the real model code.
#pragma once
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/safetensors.h"

namespace stflow {

/// One quantity: |ours - golden| / |golden| (Euclidean norms), or the share of unequal entries for indices.
struct GoldenLine {
  std::string name;
  double error = 0;
};

/// Recomputes the neighbours, frames, every intermediate value, the loss, all gradients, one sampling run and ten Adam steps
/// of a golden file of the denoiser (names in its documentation) in `type` (f32 or f64). Gradients that vanish exactly in
/// theory (a bias that softmax cancels) are measured against the whole gradient's norm, and Adam's steps along them, which
/// only follow rounding, are left out; for the same reason the weights after ten steps are always those of float64. Throws Exit::data if
/// the file is not such a golden file. A CUDA context takes f32 only.
std::vector<GoldenLine> check_golden(const SafeTensors& file, DType type, Context context = {});

}  // namespace stflow
