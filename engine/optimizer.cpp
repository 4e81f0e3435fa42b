#include "engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace stflow {

double Schedule::factor(int64_t step) const {
  if (step < warmup) return double(step + 1) / double(warmup);
  if (kind == constant) return 1;
  const double x = total > warmup ? std::clamp(double(step - warmup) / double(total - warmup), 0.0, 1.0) : 1.0;
  return floor + (1 - floor) * 0.5 * (1 + std::cos(M_PI * x));
}

double ema_decay_at(double decay, int64_t step) { return std::min(decay, double(step) / double(step + 10)); }

void OptimizerState::allocate(const ParameterSet& params, bool with_ema) {
  m = Array({params.size()}, params.type());
  v = Array({params.size()}, params.type());
  ema = Array();
  step = 0;
  if (!with_ema) return;
  ema = Array({params.size()}, params.type());
  std::memcpy(ema.tensor().data, params.values().data, params.values().bytes());
}

}  // namespace stflow
