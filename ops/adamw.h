// One step of Adam over the flat arrays: clip, moments, decay, update and running mean in two passes over memory.
#pragma once
#include <cmath>

#include "engine/device.h"
#include "engine/optimizer.h"

namespace stflow {

/// Updates params.values() and `state` from params.grads(), which are sums over `count` terms (spots; 1 if they are
/// means already): the gradient is grads / count. Returns its norm before clipping.
/// If the norm is not finite (also for count 0) nothing is changed: the caller reports it.
///   g = grads / count * min(1, clip / (norm + 1e-6))        as torch.nn.utils.clip_grad_norm_
///   m += (1 - b1) (g - m);  v = b2 v + (1 - b2) g^2
///   w -= lr decay w;  w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps);  ema += (1 - d) (w - ema)
/// `lr` is this step's rate (options.lr times the schedule's factor). The same bits on every CPU, on a GPU, and at any thread count.
double adamw_step(const Context& context, const ParameterSet& params, const AdamOptions& options, double lr, double count,
                  OptimizerState& state);

/// The same in two halves, between which a device may be given more work. The first puts the whole step into the order of the stream
/// and waits for nothing: the device itself looks whether the norm is finite. The second waits, returns the norm, and counts the
/// step in state.step if it changed anything. No step starts before the last one's end: its t is not known. `guard` (f32, in the device's
/// memory; may be empty) holds numbers, the losses, that must be finite too, or nothing is changed and the norm is NaN.
void adamw_start(const Context& context, const ParameterSet& params, const AdamOptions& options, double lr, double count,
                 OptimizerState& state, const Tensor& guard = {});
double adamw_finish(const Context& context, OptimizerState& state);
/// adamw_start() in two: the first writes what this step has of its own, with one copy; the second puts the work into the stream, the same
/// launches in every step, so that a graph can hold it.
void adamw_stage(const Context& context, const ParameterSet& params, const AdamOptions& options, double lr, double count,
                 OptimizerState& state);
void adamw_run(const Context& context, const ParameterSet& params, const AdamOptions& options, OptimizerState& state,
               const Tensor& guard = {});

/// The constants of one step, as the kernel needs them.
struct AdamwStep {
  double beta1, beta2;
  double rate;        // lr / (1 - b1^t)
  double root;        // 1 / sqrt(1 - b2^t)
  double eps, decay;  // decay = lr * weight_decay, where a parameter decays
  double ema;         // 1 - d; unused without a running mean
};

/// AdamwStep in float, rounded as the CPU's kernel does.
struct AdamwRounded {
  float one1, beta2, one2, rate, root, eps, shrink, follow;
};

/// What a step has of its own, in the back end's memory.
struct AdamwNow {
  AdamwStep step;
  AdamwRounded rounded;
  double count;
};

/// The gradient's norm, and what that makes of a stored number: gradient = scale * stored.
struct AdamwNorm {
  double norm, scale;

  /// From the sum of the stored numbers' squares; clip_norm 0 never clips.
  STFLOW_BOTH static AdamwNorm of(double squares, double count, double clip_norm) {
    if (!(count > 0)) return {NAN, 0};
    const double norm = std::sqrt(squares) / count, cut = clip_norm > 0 ? clip_norm / (norm + 1e-6) : 1;
    return {norm, (cut < 1 ? cut : 1) / count};
  }
};

/// Numbers per piece of a sum of squares.
inline constexpr int64_t kSquarePiece = 8192;
// `partial` and `norm` below are the back end's memory.
/// partial[i] = sum of x^2 over the i-th piece, in float64: number j of it in lane j % 16, lanes by the tree i with i + 8, + 4, + 2, + 1.
template <class B> void square_sums(B, Tensor x, double* partial);
/// Updates every parameter and its state, nothing if the norm is not finite.
template <class B> void adamw_update(B, const AdamwNow* now, const AdamwNorm* norm, const ParameterSet& params, OptimizerState& state);
/// *norm from the sum of the partial sums, which are used up: neighbours are added until one number is left, as the host does.
void adamw_norm(Cuda on, double* partial, int64_t pieces, const AdamwNow* now, double clip_norm, const Tensor& guard, AdamwNorm* norm);

}  // namespace stflow
