// One step of Adam over the flat arrays: clip, moments, decay, update and running mean in two passes over memory.
#pragma once
#include "engine/device.h"
#include "engine/optimizer.h"

namespace stflow {

/// Updates params.values() and `state` from params.grads(), which are sums over `count` terms (spots; 1 if they are
/// means already): the gradient is grads / count. Returns its norm before clipping.
/// If the norm is not finite (also for count 0) nothing is changed: the caller reports it.
///   g = grads / count * min(1, clip / (norm + 1e-6))        as torch.nn.utils.clip_grad_norm_
///   m += (1 - b1) (g - m);  v = b2 v + (1 - b2) g^2
///   w -= lr decay w;  w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps);  ema += (1 - d) (w - ema)
/// `lr` is this step's rate (options.lr times the schedule's factor). The same bits on every CPU and at any thread count.
double adamw_step(const Context& context, const ParameterSet& params, const AdamOptions& options, double lr, double count,
                  OptimizerState& state);

/// The constants of one step, as the kernel needs them.
struct AdamwStep {
  double scale;  // gradient = scale * stored
  double beta1, beta2;
  double rate;        // lr / (1 - b1^t)
  double root;        // 1 / sqrt(1 - b2^t)
  double eps, decay;  // decay = lr * weight_decay, where a parameter decays
  double ema;         // 1 - d; unused without a running mean
};

/// Numbers per piece of a sum of squares.
inline constexpr int64_t kSquarePiece = 8192;
/// partial[i] = sum of x^2 over the i-th piece, in float64; `partial` is the host's, `memory` the device's.
template <class B> void square_sums(B, Tensor x, double* partial, Storage& memory);
/// Updates every parameter and its state.
template <class B> void adamw_update(B, const AdamwStep& s, const ParameterSet& params, OptimizerState& state);

}  // namespace stflow
