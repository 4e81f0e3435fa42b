#pragma once
#include "ops/dropout.h"

namespace stflow {

/// The mean over frames of dropout(x): x (n, k, F, e) -> (n, k, e), masks drawn per frame (STFLOW.md 3.4).
Var frame_mean(Var x, Dropout d);

/// The most numbers F * e of one edge: its masks are kept on the stack.
inline constexpr int64_t kFrameMeanNumbers = 8192;

template <class B> void frame_mean_forward(B, Tensor x, const Dropout& d, Tensor y);
/// Adds into dx.
template <class B> void frame_mean_backward(B, const Dropout& d, Tensor dy, Tensor dx);

}  // namespace stflow
