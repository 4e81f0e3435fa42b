#pragma once
#include "engine/tape.h"

namespace stflow {

enum class Reduction : uint8_t { mean, sum };

/// The squared error of two inputs of one shape as one number (1): summed over all elements, for `mean` divided by their number. With
/// `rows`, a number (1) of their type, for `sum`: over that many of their first rows.
Var mse(Var prediction, Var target, Reduction reduction = Reduction::mean, Var rows = {});

/// Pieces of kMseGrain elements are summed in float64, then in order; `scratch` holds one double for each. `rows` may be absent.
inline constexpr int64_t kMseGrain = 16384;
template <class B> void mse_forward(B, Tensor x, Tensor target, Tensor rows, Reduction, Tensor y, double* scratch);
/// Adds into dx, dtarget (each may be absent).
template <class B> void mse_backward(B, Tensor x, Tensor target, Tensor rows, Reduction, Tensor dy, Tensor dx, Tensor dtarget);

}  // namespace stflow
