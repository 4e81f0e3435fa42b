#include "ops/adamw.h"

#include <cmath>

namespace stflow {
namespace {

/// Adds neighbours until one number is left: an order that depends on the count alone.
double tree_sum(double* x, int64_t n) {
  for (int64_t apart = 1; apart < n; apart *= 2)
    for (int64_t i = 0; i + apart < n; i += 2 * apart) x[i] += x[i + apart];
  return n > 0 ? x[0] : 0;
}

bool all_finite(const Tensor& x) {
  for (int64_t i = 0; i < x.size(); i++)
    if (!std::isfinite(x.as<float>()[i])) return false;
  return true;
}

/// The head of OptimizerState::sums, before the partial sums, and of its host's side.
struct OnDevice {
  AdamwNow now;
  AdamwNorm norm;
};

int64_t pieces_of(const ParameterSet& params) { return (params.size() + kSquarePiece - 1) / kSquarePiece; }

}  // namespace

void adamw_stage(const Context& context, const ParameterSet& params, const AdamOptions& o, double lr, double count, OptimizerState& state) {
  check(state.m.tensor().size() == params.size(), "adamw: state of {} elements for {}", state.m.tensor().size(), params.size());
  check(!state.started, "adamw: step {} is not finished", state.step + 1);
  state.sums.reserve(sizeof(OnDevice) + size_t(pieces_of(params)) * sizeof(double));
  state.told.reserve(sizeof(OnDevice));
  const auto t = double(state.step + 1);
  AdamwStep s{};
  s.beta1 = o.beta1, s.beta2 = o.beta2, s.eps = o.eps;
  s.rate = lr / (1 - std::pow(o.beta1, t));
  s.root = 1 / std::sqrt(1 - std::pow(o.beta2, t));
  s.ema = 1 - ema_decay_at(o.ema_decay, state.step + 1);
  s.decay = lr * o.weight_decay;
  AdamwNow& now = static_cast<OnDevice*>(state.told.data())->now;
  now = {s,
         {float(1 - s.beta1), float(s.beta2), float(1 - s.beta2), float(s.rate), float(s.root), float(s.eps), float(1 - s.decay),
          float(s.ema)},
         count};
  copy(context.device, &static_cast<OnDevice*>(state.sums.data())->now, Device::cpu, &now, sizeof now, context.stream);
  state.started = true;
}

void adamw_run(const Context& context, const ParameterSet& params, const AdamOptions& o, OptimizerState& state, const Tensor& guard) {
  const Tensor grads{params.grads().data, {params.size()}, params.type()};
  const int64_t pieces = pieces_of(params);
  auto* there = static_cast<OnDevice*>(state.sums.data());
  auto* partial = reinterpret_cast<double*>(there + 1);
  on(context, [&](auto b) { square_sums(b, grads, partial); });
  if (context.device == Device::cuda) adamw_norm(Cuda{context.stream}, partial, pieces, &there->now, o.clip_norm, guard, &there->norm);
  else there->norm = AdamwNorm::of(tree_sum(partial, pieces), all_finite(guard) ? there->now.count : 0, o.clip_norm);
  on(context, [&](auto b) { adamw_update(b, &there->now, &there->norm, params, state); });
}

void adamw_start(const Context& context, const ParameterSet& params, const AdamOptions& o, double lr, double count, OptimizerState& state,
                 const Tensor& guard) {
  adamw_stage(context, params, o, lr, count, state);
  adamw_run(context, params, o, state, guard);
}

double adamw_finish(const Context& context, OptimizerState& state) {
  check(state.started, "adamw: no step is started");
  AdamwNorm& norm = static_cast<OnDevice*>(state.told.data())->norm;
  copy(Device::cpu, &norm, context.device, &static_cast<OnDevice*>(state.sums.data())->norm, sizeof norm, context.stream);
  state.started = false;
  state.step += std::isfinite(norm.norm);
  return norm.norm;
}

double adamw_step(const Context& context, const ParameterSet& params, const AdamOptions& options, double lr, double count,
                  OptimizerState& state) {
  adamw_start(context, params, options, lr, count, state);
  return adamw_finish(context, state);
}

}  // namespace stflow
