// Moving along the flow from the prior (t = 0) to expression (t = 1), in place (STFLOW.md 6 and 7). Arrays are (n, G), f32 or on the CPU
// f64. The network predicts the end point x1, so the velocity at (y, t) is (x1 - y) / (1 - t).
#pragma once
#include "engine/device.h"
#include "engine/tensor.h"

namespace stflow {

/// y = (1 - t) y + t y1 for t (1): the point of a training item between its prior draw y and its target y1.
template <class B> void interpolate(B, Tensor t, Tensor y1, Tensor y);
/// An Euler step from t to t + dt.
template <class B> void euler_step(B, double t, double dt, Tensor x1, Tensor y);
/// The first half of a Heun step: `velocity` at (y, t) is kept, y takes an Euler step along it.
template <class B> void heun_predict(B, double t, double dt, Tensor x1, Tensor y, Tensor velocity);
/// The second half, with x1 predicted at (y, t + dt): y goes on as if the mean of both velocities had been taken.
template <class B> void heun_correct(B, double t, double dt, Tensor x1, Tensor velocity, Tensor y);
/// In-painting: where the end point is `known` (not NaN), y = (1 - t) start + t known, the point at t of the straight path from the prior
/// draw `start`; elsewhere y stays.
template <class B> void hold_known(B, double t, Tensor known, Tensor start, Tensor y);

}  // namespace stflow
