#include "ops/adamw.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace stflow {
namespace {

/// Adds neighbours until one number is left: an order that depends on the count alone.
double tree_sum(std::vector<double>& x) {
  for (size_t n = x.size(); n > 1; n = (n + 1) / 2)
    for (size_t i = 0; 2 * i < n; i++) x[i] = 2 * i + 1 < n ? x[2 * i] + x[2 * i + 1] : x[2 * i];
  return x.empty() ? 0 : x[0];
}

}  // namespace

double adamw_step(const Context& context, const ParameterSet& params, const AdamOptions& o, double lr, double count,
                  OptimizerState& state) {
  check(state.m.tensor().size() == params.size(), "adamw: state of {} elements for {}", state.m.tensor().size(), params.size());
  const Tensor grads{params.grads().data, {params.size()}, params.type()};
  std::vector<double>& partial = state.square_sums;
  partial.resize(size_t((params.size() + kSquarePiece - 1) / kSquarePiece));
  on(context, [&](auto b) { square_sums(b, grads, partial.data(), state.device_sums); });
  const double norm = count > 0 ? std::sqrt(tree_sum(partial)) / count : std::numeric_limits<double>::quiet_NaN();
  if (!std::isfinite(norm)) return norm;

  const auto t = double(++state.step);
  AdamwStep s{};
  s.scale = (o.clip_norm > 0 ? std::min(1.0, o.clip_norm / (norm + 1e-6)) : 1.0) / count;
  s.beta1 = o.beta1, s.beta2 = o.beta2, s.eps = o.eps;
  s.rate = lr / (1 - std::pow(o.beta1, t));
  s.root = 1 / std::sqrt(1 - std::pow(o.beta2, t));
  s.ema = 1 - ema_decay_at(o.ema_decay, state.step);
  s.decay = lr * o.weight_decay;
  on(context, [&](auto b) { adamw_update(b, s, params, state); });
  return norm;
}

}  // namespace stflow
