// What an optimiser remembers, and how its learning rate moves. The arithmetic of a step is in ops/adamw.h.
#pragma once
#include <cstdint>

#include "engine/module.h"

namespace stflow {

/// Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter, 2019). The defaults are the reference's.
struct AdamOptions {
  double lr = 5e-4;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;  // per unit of learning rate, for parameters with `decays` only
  double clip_norm = 1;     // the gradient's norm is cut to this; 0 = never
  double ema_decay = 0;     // of the running mean of the weights; 0 = none is kept
};

/// The factor on AdamOptions::lr at each step.
struct Schedule {
  enum Kind { constant, cosine } kind = constant;
  int64_t warmup = 0;  // steps over which the factor rises linearly to 1, for either kind
  int64_t total = 0;   // cosine: steps until the factor has fallen to `floor`, where it stays
  double floor = 0;

  /// Factor in [0, 1] for step 0, 1, ... Cosine: floor + (1 - floor) (1 + cos(pi x)) / 2, x = (step - warmup) / (total - warmup).
  [[nodiscard]] double factor(int64_t step) const;
};

/// Decay of the weights' running mean at step 1, 2, ...: min(decay, step / (step + 10)), so that the first weights are soon forgotten.
double ema_decay_at(double decay, int64_t step);

/// First and second moments and the running mean of the weights: flat arrays in the layout of the parameters.
struct OptimizerState {
  Array m, v;
  Array ema;             // empty unless allocated with one
  int64_t step = 0;      // updates done
  Array decays;          // of a device: 1 for each run of 16 elements whose parameter decays, i32
  Storage sums, told;    // what adamw_stage() and adamw_run() leave for adamw_finish(), no state: on the device, and the host's side of it
  bool started = false;  // a step whose adamw_finish() is to come

  /// Zero moments; the running mean starts at the parameters' values, which must be allocated. Forgets what was there.
  void allocate(const ParameterSet& params, bool with_ema);
  [[nodiscard]] bool has_ema() const { return ema.tensor().data != nullptr; }
};

}  // namespace stflow
