#include "ops/adamw.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/threads.h"

namespace stflow {
namespace {

Tensor part(const Tensor& t, int64_t begin, int64_t n) {
  if (!t.data) return {};
  return {static_cast<char*>(t.data) + size_t(begin) * bytes_of(t.type), {n}, t.type};
}

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
  const Tensor grads = part(params.grads(), 0, params.size());
  std::vector<double>& partial = state.square_sums;
  partial.resize(size_t((params.size() + kSquarePiece - 1) / kSquarePiece));
  on(context, [&](auto b) { square_sums(b, grads, partial.data()); });
  const double norm = count > 0 ? std::sqrt(tree_sum(partial)) / count : std::numeric_limits<double>::quiet_NaN();
  if (!std::isfinite(norm)) return norm;

  const auto t = double(++state.step);
  AdamwStep s{};
  s.scale = (o.clip_norm > 0 ? std::min(1.0, o.clip_norm / (norm + 1e-6)) : 1.0) / count;
  s.beta1 = o.beta1, s.beta2 = o.beta2, s.eps = o.eps;
  s.rate = lr / (1 - std::pow(o.beta1, t));
  s.root = 1 / std::sqrt(1 - std::pow(o.beta2, t));
  s.ema = 1 - ema_decay_at(o.ema_decay, state.step);
  const auto& all = params.all();
  parallel_for(int64_t(all.size()), 1, [&](int64_t i, int64_t) {
    const Parameter& p = all[size_t(i)];
    const int64_t n = p.shape.size();
    AdamwStep own = s;
    own.decay = p.decays ? lr * o.weight_decay : 0;
    on(context, [&](auto b) {
      adamw_update(b, own, part(grads, p.offset, n), part(params.values(), p.offset, n), part(state.m, p.offset, n),
                   part(state.v, p.offset, n), part(state.ema, p.offset, n));
    });
  });
  return norm;
}

}  // namespace stflow
